import Crypto
import EventStore
import Foundation
package import LedgerCore

/// A projection as a folder of SQL: the content of `projections/NAME/`.
package struct ProjectionDefinition: Sendable, Equatable {
    /// `projection.json`, but for what is read as it is written.
    private struct Manifest: Decodable {
        var name: String
        var key: String
        var tables: [String]
    }

    package struct FormatError: Error, Sendable, CustomStringConvertible {
        package let description: String
        package init(description: String) { self.description = description }
    }

    /// Whether each row depends on the events of one stream, or on the whole log. Only the first
    /// kind can be folded in parallel.
    package enum Key: String, Sendable {
        case stream = "stream_id"
        case log
    }

    package let name: String
    /// Windows contain these events only.
    package let consumes: ConsumedEvents
    package let key: Key
    package let tables: [String]
    /// Where the row of a stream is found, by category.
    package let rows: [Category: StreamTable]
    package let schemaSQL: String
    /// `apply.sql`, with `prepare.sql` as a part of it if there is one.
    package let applySQL: String
    /// The two parts by themselves, if there is a `prepare.sql`.
    let preparation: Preparation?
    /// The cases, by file name.
    package let cases: [(file: String, text: String)]

    package static func == (a: ProjectionDefinition, b: ProjectionDefinition) -> Bool {
        a.name == b.name && a.hash == b.hash
    }

    /// A hash of everything that the rows depend on. Another hash is another definition, whose
    /// tables are rebuilt.
    package var hash: String {
        let parts = [
            name, consumes.canonical, tables.joined(separator: ","), schemaSQL, applySQL,
        ]
        let digest = SHA256.hash(data: Data(parts.joined(separator: "\u{0}").utf8))
        return digest.hexadecimal
    }

    /// - Parameter files: the folder's files, by their path in it.
    package init(folder: String, files: [ExactText: String]) throws {
        func file(_ name: ExactText) throws(FormatError) -> String {
            guard let text = files[name] else {
                throw FormatError(description: "projection \(folder): \(name) is missing")
            }
            return text
        }
        let manifest: Manifest
        let place = "projection \(folder): projection.json"
        let members = try KnownMembers.read(
            Array(try file("projection.json").utf8)[...], ["name", "consumes", "key", "tables", "rows"], in: place)
        do {
            manifest = try JSONDecoder().decode(Manifest.self, from: Data(try file("projection.json").utf8))
        } catch let error as DecodingError {
            throw FormatError(description: "projection \(folder): projection.json: \(error)")
        }
        guard manifest.name == folder, LedgerName(manifest.name) != nil else {
            throw FormatError(
                description: "projection \(folder): \"name\" must be the folder's name, of at most 50 of a–z, 0–9 and _"
            )
        }
        guard let key = Key(rawValue: manifest.key) else {
            throw FormatError(
                description: "projection \(folder): \"key\" must be \"stream_id\" or \"log\", not \"\(manifest.key)\"")
        }
        guard let consumed = members.first(where: { $0.name == "consumes" }) else {
            throw FormatError(description: "\(place): \"consumes\" is missing")
        }
        guard !manifest.tables.isEmpty, manifest.tables.allSatisfy({ LedgerName($0) != nil }) else {
            throw FormatError(
                description:
                    "projection \(folder): \"tables\" must name the tables that schema.sql makes, in lower case")
        }
        name = folder
        let consumes = try ConsumedEvents(reading: consumed.value, in: place)
        self.consumes = consumes
        self.key = key
        tables = manifest.tables
        rows =
            try members.first { $0.name == "rows" }.map { member in
                try StreamTable.all(reading: member.value, tables: manifest.tables, consumes: consumes, in: place)
            } ?? [:]
        schemaSQL = try Self.sql("schema.sql", file("schema.sql"), of: folder)
        let apply = try Self.sql("apply.sql", file("apply.sql"), of: folder)
        preparation = try files["prepare.sql"].map {
            try Preparation(
                query: Self.sql("prepare.sql", $0, of: folder), apply: apply, tables: manifest.tables, of: folder)
        }
        applySQL = preparation?.wholeSQL ?? apply
        cases = files.filter { $0.key.text.hasPrefix("cases/") && $0.key.text.hasSuffix(".json") }
            .map { (String($0.key.text.dropFirst("cases/".count)), $0.value) }.sorted { $0.file < $1.file }
    }

    /// The text of an SQL file, checked for statements that begin, end or mark a transaction. A
    /// `COMMIT` would commit half a fold, and keep what a test means to roll back.
    private static func sql(_ file: String, _ text: String, of folder: String) throws(FormatError) -> String {
        let sql = SQLText(file, text)
        if let (word, byte) = sql.transactionControl {
            throw FormatError(
                description: """
                    projection \(folder): \(sql.place(at: byte)): \(word) is not for a projection: the projector \
                    runs this file within a transaction of its own. Leave it out
                    """)
        }
        // Postgres gets the text as a C string, and would ignore the rest.
        if let byte = text.utf8.firstIndex(of: 0) {
            let place = sql.place(at: text.utf8.distance(from: text.startIndex, to: byte))
            throw FormatError(
                description: "projection \(folder): \(place): a null byte is not allowed in SQL: remove it")
        }
        return text
    }

    // MARK: Where definitions come from

    /// The built-in definitions, and those in `directory`, which replace built-in ones of the same
    /// name.
    package static func all(in directory: String? = nil) throws -> [ProjectionDefinition] {
        var byName = Dictionary(uniqueKeysWithValues: try embedded().map { ($0.name, $0) })
        if let directory {
            let files: [(path: String, text: String)]
            do {
                files = try DefinitionFolder(reading: directory, of: .projections).files
            } catch {
                throw FormatError(description: error.description)
            }
            for definition in try definitions(of: files) { byName[definition.name] = definition }
        }
        return byName.values.sorted { $0.name < $1.name }
    }

    private static func embedded() throws -> [ProjectionDefinition] {
        try definitions(of: EmbeddedFiles.all.map { ($0.path, $0.text) })
    }

    private static func definitions(of files: [(path: String, text: String)]) throws -> [ProjectionDefinition] {
        var folders: [ExactText: [ExactText: String]] = [:]
        for (path, text) in files {
            let parts = path.split(separator: "/", maxSplits: 1)
            if parts.count == 2 { folders[ExactText(parts[0]), default: [:]][ExactText(parts[1])] = text }
        }
        return try folders.map { try ProjectionDefinition(folder: $0.key.text, files: $0.value) }
    }
}

extension ProjectionDefinition.FormatError: ExitStatusProviding {
    package var exitStatus: ExitStatus { .usage }
}
