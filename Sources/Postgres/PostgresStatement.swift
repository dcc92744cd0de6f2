/// One statement: its text and its parameters `$1`, `$2` …
package struct PostgresStatement: Sendable {
    package var sql: String
    package var parameters: [any PostgresEncodable]
    /// Whether the server prepares the statement for as long as the connection lasts: for the few
    /// texts that are sent again and again. Streams and pipelines ignore it.
    package var isPrepared = false
    /// Whether the connection is closed when the statement is given up, instead of cancelling it on
    /// the server. A cancelled wait for a standby would end as a commit that no standby has.
    package var endsByClosing = false

    package init(
        _ sql: String, _ parameters: [any PostgresEncodable] = [], isPrepared: Bool = false, endsByClosing: Bool = false
    ) {
        precondition(!sql.utf8.contains(0), "a statement cannot contain U+0000")
        self.sql = sql
        self.parameters = parameters
        self.isPrepared = isPrepared
        self.endsByClosing = endsByClosing
    }
}

/// The encoded parameters of a statement: one after the other in one buffer.
struct EncodedParameters {
    private(set) var bytes: [UInt8] = []
    private(set) var lengths: [Int32] = []
    /// By parameter, where it starts in `bytes`; `nil` for SQL's null.
    private(set) var starts: [Int?] = []
    private(set) var types: [UInt32] = []

    init(_ parameters: [any PostgresEncodable]) throws(PostgresError) {
        guard parameters.count <= UInt16.max else {
            throw PostgresError(.usage, "\(parameters.count) parameters; a statement takes at most \(UInt16.max)")
        }
        for parameter in parameters {
            let start = bytes.count
            starts.append(parameter.encode(into: &bytes) ? start : nil)
            guard let length = Int32(exactly: bytes.count - start) else {
                throw PostgresError(.usage, "a parameter of \(bytes.count - start) bytes")
            }
            lengths.append(length)
            types.append(type(of: parameter).postgresType)
        }
        // An empty buffer would have no address.
        bytes.append(0)
    }
}
