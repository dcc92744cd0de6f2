/// What a session needs of its server and its database: looked at when it connects. No waiting mends what is missing.
public struct PostgresRequirement: Sendable {
    /// As `SHOW server_encoding` gives it.
    public var encoding: String
    /// As in `server_version_num`.
    public var oldestServer: Int32

    public init(encoding: String, oldestServer: Int32) {
        self.encoding = encoding
        self.oldestServer = oldestServer
    }

    /// What the server tells of itself.
    func checkServer(_ libpq: LibpqConnection) throws(PostgresError) {
        guard libpq.serverVersion >= oldestServer else {
            throw .cannotConnect(
                "the server is Postgres \(libpq.serverVersion / 10_000), and \(oldestServer / 10_000) or newer is needed",
                isPermanent: true)
        }
        guard let actual = libpq.parameter("server_encoding"), actual == encoding else {
            throw .cannotConnect(
                """
                the database \(libpq.database) has the encoding \(libpq.parameter("server_encoding") ?? "?"), and \(encoding) is needed, or \
                texts would be refused one by one. It cannot be changed: make another database, CREATE DATABASE name \
                ENCODING '\(encoding)' LOCALE 'C.UTF-8' TEMPLATE template0
                """, isPermanent: true)
        }
    }

    static let askProcess = "SELECT pg_backend_pid()"

    /// Whether the session is ours alone: the process that answers is the one that the connection was promised.
    ///
    /// A pooler between here and the server makes promises of its own. One that gives each transaction another session would have
    /// names, settings and prepared statements of one program meet those of another; nothing tells it from one that does not.
    /// - Parameter answer: to ``askProcess``.
    func checkSession(_ libpq: LibpqConnection, _ answer: LibpqResult) throws(PostgresError) {
        let process =
            answer.rowCount == 1 ? answer.withBytes(row: 0, column: 0) { $0.map { String(decoding: $0, as: UTF8.self) } } : nil
        guard process.flatMap(Int32.init) == libpq.serverProcess else {
            throw .cannotConnect(
                """
                the address leads to a pooler, such as pgbouncer, and not to Postgres itself: sessions would be shared with other programs, \
                and events could go into another's ledger. Give the address of the server; connections are pooled here. Callers of SQL \
                that name the schema, SELECT SCHEMA.append_event(…), may go through a pooler
                """, isPermanent: true)
        }
    }
}
