import Postgres

extension PostgresEncodable {
    /// The value's bytes, for a parameter of a bare connection; `nil` for null.
    func postgresBytes() -> [UInt8]? {
        var bytes: [UInt8] = []
        return encode(into: &bytes) ? bytes : nil
    }
}
