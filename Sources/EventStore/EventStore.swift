package import LedgerCore
package import Postgres

/// One ledger in one database: append, read, checkpoints, leases.
package struct EventStore: Sendable {
    package let ledger: LedgerName
    package let pool: PostgresPool
    let versionHints = VersionHints()
    package let demanded = DurabilityDemand()
    package let confirmations: Confirmations
    package let callsUnderWay = AppendCallsUnderWay()

    /// - Parameters:
    ///   - url: a connection string as libpq understands it.
    ///   - connections: the most connections that are used at once.
    ///   - timeout: how long a call tries to reach a server that is away before it throws.
    ///   - writes: whether only a server that accepts writes will do, unless the address says
    ///     otherwise.
    package init(
        url: String, ledger: LedgerName = .standard, connections: Int = 8, timeout: Duration = .seconds(10),
        applicationName: String = "jobledger", writes: Bool = false
    ) {
        self.ledger = ledger
        pool = PostgresPool(
            Self.configuration(url: url, ledger: ledger, applicationName: applicationName, writes: writes),
            size: connections,
            timeout: timeout)
        confirmations = Confirmations(pool: pool)
    }

    /// Settings of a session in which the ledger's objects need no schema prefix, and in which
    /// every value has the same text form on every server.
    /// - Parameter writes: whether only a server that accepts writes will do, unless the address
    ///   says otherwise.
    package static func configuration(
        url: String, ledger: LedgerName, applicationName: String = "jobledger", writes: Bool = false
    ) -> PostgresConfiguration {
        var configuration = PostgresConfiguration(
            url: url, applicationName: applicationName,
            sessionSettings: [
                ("search_path", "\"\(ledger.text)\""), ("default_transaction_isolation", "'read committed'"),
                ("TimeZone", "'UTC'"), ("DateStyle", "'ISO, YMD'"), ("IntervalStyle", "'iso_8601'"),
                ("extra_float_digits", "1"), ("bytea_output", "'hex'"),
                // A role, a database or a server may set these differently, which would change the
                // meaning of a statement.
                ("standard_conforming_strings", "on"), ("array_nulls", "on"), ("transform_null_equals", "off"),
                ("quote_all_identifiers", "off"), ("row_security", "on"), ("check_function_bodies", "on"),
                // An administrator's limits for interactive sessions would end a long replay. The
                // driver has its own limits.
                ("statement_timeout", "0"), ("lock_timeout", "0"), ("idle_in_transaction_session_timeout", "0"),
                ("idle_session_timeout", "0"),
                // Compiling a statement takes half a second; folding a window of events takes less.
                ("jit", "off"),
            ])
        configuration.requirement = PostgresRequirement(encoding: "UTF8", oldestServer: 150_000, schema: ledger.text)
        configuration.leading = .of(url)
        configuration.writes = writes
        // A commit that was answered is on disk, whatever the role or the server sets. A setting
        // that also waits for replicas stays as it is.
        configuration.sessionStatements = [
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        ]
        return configuration
    }

    package func close() async { await pool.close() }

    /// The ledger's epoch. A different epoch means a different log, even where positions are equal.
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
    /// The nearest timestamp; `infinity`, for example, is outside the range of timestamps.
    package init(_ moment: PostgresTimestamp) {
        let (sum, overflows) = moment.microseconds.addingReportingOverflow(PostgresTimestamp.unixEpochDifference)
        self.init(microseconds: overflows ? .max : sum)
    }

    /// `nil` for a moment outside the range of timestamps.
    package init?(exactly moment: PostgresTimestamp) {
        self.init(moment)
        guard PostgresTimestamp(self) == moment else { return nil }
    }
}
