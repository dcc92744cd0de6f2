package import LedgerCore
package import Postgres

/// One ledger in one database: append, read, checkpoints, leases.
package struct EventStore: Sendable {
    package let ledger: LedgerName
    package let pool: PostgresPool
    let versionHints = VersionHints()

    /// - Parameters:
    ///   - url: a connection string as libpq understands it.
    ///   - connections: the most connections that are used at once.
    ///   - timeout: how long a call tries to reach a server that is away before it throws.
    package init(
        url: String, ledger: LedgerName = .standard, connections: Int = 8, timeout: Duration = .seconds(10),
        applicationName: String = "jobledger"
    ) {
        self.ledger = ledger
        pool = PostgresPool(
            Self.configuration(url: url, ledger: ledger, applicationName: applicationName), size: connections,
            timeout: timeout)
    }

    /// Sessions in which the ledger's names need no schema, and in which values have one text form
    /// everywhere.
    package static func configuration(
        url: String, ledger: LedgerName, applicationName: String = "jobledger"
    ) -> PostgresConfiguration {
        var configuration = PostgresConfiguration(
            url: url, applicationName: applicationName,
            sessionSettings: [
                ("search_path", "\"\(ledger.text)\""), ("default_transaction_isolation", "'read committed'"),
                ("TimeZone", "'UTC'"), ("DateStyle", "'ISO, YMD'"), ("IntervalStyle", "'iso_8601'"),
                ("extra_float_digits", "1"), ("bytea_output", "'hex'"),
                // What a role, a database or a server may have set otherwise, and what changes the
                // meaning of a statement.
                ("standard_conforming_strings", "on"), ("array_nulls", "on"), ("transform_null_equals", "off"),
                ("quote_all_identifiers", "off"), ("row_security", "on"), ("check_function_bodies", "on"),
                // Limits that an administrator set for people's sessions would end a long replay;
                // ours are in the driver.
                ("statement_timeout", "0"), ("lock_timeout", "0"), ("idle_in_transaction_session_timeout", "0"),
                ("idle_session_timeout", "0"),
                // Compiling a statement takes half a second; folding a window of events takes less.
                ("jit", "off"),
            ])
        configuration.requirement = PostgresRequirement(encoding: "UTF8", oldestServer: 150_000, schema: ledger.text)
        // What is answered is on the disk, whatever the role or the server says of its own; what
        // waits for replicas is left as it is.
        configuration.sessionStatements = [
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        ]
        return configuration
    }

    package func close() async { await pool.close() }

    /// The last position, 0 while the log is empty.
    package func head() async throws -> Position {
        try await pool.withConnection { try await $0.query("SELECT head()").only().decode(0) }
    }

    /// The ledger's epoch: another one means another log, whatever its positions.
    package func epoch() async throws -> EventID {
        try await pool.withConnection { try await $0.query("SELECT epoch FROM ledger").only().decode(0) }
    }

    /// The last position recorded at or before `moment`.
    package func position(at moment: Timestamp) async throws -> Position {
        try await pool.withConnection {
            try await $0.query("SELECT position_at($1)", PostgresTimestamp(moment)).only().decode(0)
        }
    }
}

extension PostgresTimestamp {
    package init(_ moment: Timestamp) {
        self.init(microseconds: moment.microseconds - PostgresTimestamp.unixEpochDifference)
    }
}

extension Timestamp {
    /// Of a moment that no timestamp can be, such as `infinity`, the nearest one.
    package init(_ moment: PostgresTimestamp) {
        let (sum, overflows) = moment.microseconds.addingReportingOverflow(PostgresTimestamp.unixEpochDifference)
        self.init(microseconds: overflows ? .max : sum)
    }

    /// `nil` for a moment that no timestamp can be.
    package init?(exactly moment: PostgresTimestamp) {
        self.init(moment)
        guard PostgresTimestamp(self) == moment else { return nil }
    }
}
