/// What a session needs of its server and its database: looked at when it connects. No waiting
/// mends what is missing.
package struct PostgresRequirement: Sendable {
    /// As `SHOW server_encoding` gives it.
    package var encoding: String
    /// As in `server_version_num`.
    package var oldestServer: Int32
    /// What the user of the session must be allowed to use, should it be there. Without that,
    /// Postgres says of everything in it that it does not exist. Letters, digits and `_`.
    package var schema: String?

    package init(encoding: String, oldestServer: Int32, schema: String? = nil) {
        self.encoding = encoding
        self.oldestServer = oldestServer
        self.schema = schema
    }

    /// What the server tells of itself.
    func checkServer(_ libpq: LibpqConnection) throws(PostgresError) {
        guard libpq.serverVersion >= oldestServer else {
            throw .cannotConnect(
                """
                the server is Postgres \(libpq.serverVersion / 10_000), and \
                \(oldestServer / 10_000) or newer is needed
                """,
                isPermanent: true)
        }
        guard let actual = libpq.parameter("server_encoding"), actual == encoding else {
            throw .cannotConnect(
                """
                the database \(libpq.database) has the encoding \
                \(libpq.parameter("server_encoding") ?? "?"), and \(encoding) is needed, or texts \
                would be refused one by one. It cannot be changed: make another database, CREATE \
                DATABASE name ENCODING '\(encoding)' LOCALE 'C.UTF-8' TEMPLATE template0
                """, isPermanent: true)
        }
    }

    /// Which process answers, whether the schema may be used, and by whom.
    var question: String {
        """
        SELECT pg_backend_pid(), (SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace
            WHERE nspname = '\(schema ?? "")')::text,
               current_user
        """
    }

    /// Whether the session is ours alone: the process that answers is the one that the connection
    /// was promised.
    ///
    /// A pooler between here and the server makes promises of its own. One that gives each
    /// transaction another session would have names, settings and prepared statements of one
    /// program meet those of another; nothing tells it from one that does not.
    /// - Parameter answer: to ``question``.
    func checkSession(_ libpq: LibpqConnection, _ answer: LibpqResult) throws(PostgresError) {
        func text(_ column: Int) -> String? {
            answer.rowCount == 1
                ? answer.withBytes(row: 0, column: column) { $0.map { String(decoding: $0, as: UTF8.self) } } : nil
        }
        guard text(0).flatMap(Int32.init) == libpq.serverProcess else {
            throw .cannotConnect(
                """
                the address leads to a pooler, such as pgbouncer, and not to Postgres itself: \
                sessions would be shared with other programs, and events could go into another's \
                ledger. Give the address of the server; connections are pooled here. Callers of SQL \
                that name the schema, SELECT SCHEMA.append_event(…), may go through a pooler
                """, isPermanent: true)
        }
        guard text(1) != "false" else {
            var error = PostgresError(
                .server,
                """
                permission denied for schema \(schema ?? ""): the user \(text(2) ?? "") is in \
                none of the roles that may use it
                """)
            error.sqlState = .insufficientPrivilege
            throw error
        }
    }
}
