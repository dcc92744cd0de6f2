/// What a session requires of its server and its database, checked when it connects. A requirement
/// that is not met is a permanent error.
package struct PostgresRequirement: Sendable {
    /// As `SHOW server_encoding` gives it.
    package var encoding: String
    /// As in `server_version_num`.
    package var oldestServer: Int32
    /// The schema that the session's user must be allowed to use, if it exists. Without that right
    /// Postgres reports everything in the schema as missing. Letters, digits and `_` only.
    package var schema: String?

    package init(encoding: String, oldestServer: Int32, schema: String? = nil) {
        self.encoding = encoding
        self.oldestServer = oldestServer
        self.schema = schema
    }

    /// Checks what the server reports by itself.
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
                \(libpq.parameter("server_encoding") ?? "?"), and \(encoding) is needed, because \
                some texts could not be stored. It cannot be changed: make another database, CREATE \
                DATABASE name ENCODING '\(encoding)' LOCALE 'C.UTF-8' TEMPLATE template0
                """, isPermanent: true)
        }
    }

    /// Asks for the process that answers, whether the schema may be used, the current user, and
    /// the server's cluster, timeline and start. A standby writes no timeline.
    var question: String {
        """
        SELECT pg_backend_pid(), (SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace
            WHERE nspname = '\(schema ?? "")')::text,
               current_user, (SELECT system_identifier FROM pg_control_system()),
               CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
               pg_postmaster_start_time() AT TIME ZONE 'UTC'
        """
    }

    /// Checks that the session is ours alone: that the process that answers is the one that the
    /// connection was told about.
    ///
    /// A pooler in between announces a process of its own. A pooler that assigns a session per
    /// transaction would mix names, settings and prepared statements of different programs. It
    /// cannot be distinguished from a pooler that does not, so every pooler is refused.
    /// - Parameter answer: the answer to ``question``.
    /// - Returns: the timeline that the server writes; `nil` for a standby.
    func checkSession(_ libpq: LibpqConnection, _ answer: LibpqResult) throws(PostgresError) -> ServerTimeline? {
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
        guard let system = text(3), let timeline = text(4), let started = text(5) else { return nil }
        return ServerTimeline(systemIdentifier: system, timeline: timeline, started: started)
    }
}
