import LedgerCore

/// The table in which each stream of a category has a row: an entry of `rows` in `projection.json`.
///
/// It says where a stream is shown. Rows do not depend on it, so it is no part of the definition's
/// hash.
package struct StreamTable: Sendable, Equatable {
    /// One of the projection's tables.
    package let table: String
    /// The table that has the row's key by stream, with the columns `category` and `stream_id`;
    /// `nil` if the table's own key is the id of the stream.
    package let by: String?

    /// - Parameters:
    ///   - json: `"TABLE"`, or `{"table": "TABLE", "by": "TABLE"}`.
    ///   - place: names the entry in messages.
    init(reading json: ArraySlice<UInt8>, tables: [String], in place: String)
        throws(ProjectionDefinition.FormatError)
    {
        func table(_ value: ArraySlice<UInt8>) throws(ProjectionDefinition.FormatError) -> String {
            guard let name = JSONText.string(from: value), tables.contains(name) else {
                throw ProjectionDefinition.FormatError(
                    description: "\(place) must name one of the projection's tables: "
                        + tables.joined(separator: ", "))
            }
            return name
        }
        guard json.first == UInt8(ascii: "{") else {
            self.table = try table(json)
            by = nil
            return
        }
        let members = try KnownMembers.read(json, ["table", "by"], in: place)
        guard let shown = members.first(where: { $0.name == "table" }) else {
            throw ProjectionDefinition.FormatError(description: "\(place): \"table\" is missing")
        }
        self.table = try table(shown.value)
        by = try members.first { $0.name == "by" }.map { (member) throws(ProjectionDefinition.FormatError) in
            try table(member.value)
        }
    }

    /// All entries of a definition, by category.
    static func all(reading json: ArraySlice<UInt8>, tables: [String], consumes: ConsumedEvents, in place: String)
        throws(ProjectionDefinition.FormatError) -> [Category: StreamTable]
    {
        var rows: [Category: StreamTable] = [:]
        let known = consumes.types.keys.sorted { $0.text < $1.text }.map { ExactText($0.text) }
        for (name, value) in try KnownMembers.read(json, known, in: "\(place): \"rows\"") {
            rows[Category(name.text)!] = try StreamTable(reading: value, tables: tables, in: "\(place): rows/\(name)")
        }
        return rows
    }
}
