import LedgerCore
import Postgres

/// One ledger in one database: append, read, checkpoints, leases.
public struct EventStore: Sendable {
    public let ledger: LedgerName
    public let pool: PostgresPool
    let known = KnownVersions()

    /// - Parameters:
    ///   - url: a connection string as libpq understands it.
    ///   - connections: the most connections that are used at once.
    ///   - patience: how long a call tries to reach a server that is away before it throws.
    public init(
        url: String, ledger: LedgerName = .standard, connections: Int = 8, patience: Duration = .seconds(10),
        applicationName: String = "jobledger"
    ) {
        self.ledger = ledger
        pool = PostgresPool(
            Self.configuration(url: url, ledger: ledger, applicationName: applicationName), size: connections, patience: patience)
    }

    /// Sessions in which the ledger's names need no schema, and in which values have one text form everywhere.
    public static func configuration(
        url: String, ledger: LedgerName, applicationName: String = "jobledger"
    ) -> PostgresConfiguration {
        PostgresConfiguration(
            url: url, applicationName: applicationName,
            sessionSettings: [
                ("search_path", "\"\(ledger.text)\""), ("default_transaction_isolation", "'read committed'"),
                ("TimeZone", "'UTC'"), ("DateStyle", "'ISO, YMD'"), ("IntervalStyle", "'iso_8601'"),
                ("extra_float_digits", "1"), ("bytea_output", "'hex'"),
                // Limits that an administrator set for people's sessions would end a long replay; ours are in the driver.
                ("statement_timeout", "0"), ("lock_timeout", "0"), ("idle_in_transaction_session_timeout", "0"),
                // Compiling a statement takes half a second; folding a window of events takes less.
                ("jit", "off"),
            ])
    }

    public func close() async { await pool.close() }

    /// The last position, 0 while the log is empty.
    public func head() async throws -> Position {
        try await pool.withConnection { try await $0.query("SELECT head()").only().decode(0) }
    }

    /// The ledger's epoch: another one means another log, whatever its positions.
    public func epoch() async throws -> EventID {
        try await pool.withConnection { try await $0.query("SELECT epoch FROM ledger").only().decode(0) }
    }

    /// The last position recorded at or before `moment`.
    public func position(at moment: Timestamp) async throws -> Position {
        try await pool.withConnection { try await $0.query("SELECT position_at($1)", PostgresTimestamp(moment)).only().decode(0) }
    }
}

extension PostgresTimestamp {
    public init(_ moment: Timestamp) {
        self.init(microseconds: moment.microseconds - PostgresTimestamp.unixEpochDifference)
    }
}

extension Timestamp {
    public init(_ moment: PostgresTimestamp) {
        self.init(microseconds: moment.microseconds + PostgresTimestamp.unixEpochDifference)
    }
}
