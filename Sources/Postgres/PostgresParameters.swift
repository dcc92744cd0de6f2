/// The parameters of a statement whose text is composed of parts.
package struct PostgresParameters: Sendable {
    package private(set) var values: [any PostgresEncodable]

    package init(_ values: any PostgresEncodable...) { self.values = values }

    /// Adds a value. Returns how the text refers to it, such as `$3`.
    package mutating func add(_ value: any PostgresEncodable) -> String {
        values.append(value)
        return "$\(values.count)"
    }
}
