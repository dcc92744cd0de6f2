import EventStore
import LedgerCore
import OffPool
import Postgres

/// Replays the log into fresh tables beside those in use, and then puts them in their place.
///
/// All of it is one transaction: a rebuild that is killed leaves nothing behind, and readers see the old tables until the moment
/// they see the new ones.
public struct Rebuild: Sendable {
    /// What a rebuild did.
    public struct Receipt: Sendable, Equatable {
        public let projection: String
        public let position: Position
        public let rows: Int
        public let digest: String
        /// How many events were replayed.
        public let events: Int64
        public let duration: Duration
    }

    public struct Busy: Error, Sendable, CustomStringConvertible {
        public let projection: String
        public var description: String { "another rebuild, or a verification, of \(projection) is running" }
    }

    private let definition: ProjectionDefinition
    private let ledger: LedgerName
    private let window: Int64

    public init(_ definition: ProjectionDefinition, ledger: LedgerName, window: Int = 100_000) {
        precondition(window > 0)
        self.definition = definition
        self.ledger = ledger
        self.window = Int64(window)
    }

    /// - Parameter progress: told after every window how far the replay is, and where the log ends.
    public func run(
        on connection: PostgresConnection, progress: (Position, Position) async throws -> Void = { _, _ in }
    ) async throws -> Receipt {
        let start = ContinuousClock.now
        let fresh = Fold(definition, ledger: ledger, schema: Fold.schemaBeside(ledger, process: await connection.serverProcess))
        return try await connection.transaction { connection in
            let isOurs: Bool = try await connection.query(
                "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))",
                Self.lockKey(ledger: ledger, projection: definition.name)
            ).only().decode(0)
            guard isOurs else { throw Busy(projection: definition.name) }

            try await connection.execute(script: "CREATE SCHEMA \"\(fresh.schema)\"")
            try await fresh.createTables(on: connection)
            try await fresh.grantToReaders(on: connection)
            var position = try await replay(into: fresh, from: 0, on: connection, progress: progress)

            // Almost there. The live projection stands still from here to the end, so nothing comes in between.
            try await LiveProjection(definition: definition, ledger: ledger).lockInstallation(on: connection)
            try await connection.query("SELECT FROM projections WHERE name = $1 FOR UPDATE", definition.name)
            position = try await replay(into: fresh, from: position, on: connection, progress: progress)
            let digest = try await TableDigest.of(fresh, on: connection)

            try await lockLiveTables(on: connection)
            for table in definition.tables { try await connection.query("SELECT swap_table($1, $2)", fresh.schema, table) }
            try await connection.execute(script: "DROP SCHEMA \"\(fresh.schema)\"")
            try await ProjectionState.register(definition, at: position, on: connection)
            return Receipt(
                projection: definition.name, position: position, rows: digest.rows, digest: digest.digest, events: position,
                duration: start.duration(to: .now))
        }
    }

    /// Takes the tables in use for the swap. New readers queue behind whoever waits for such a lock, so it waits only briefly at a time,
    /// and lets them pass in between: one long query of somebody's delays the swap, not the readers.
    private func lockLiveTables(on connection: PostgresConnection) async throws {
        let names = definition.tables.map { "\"\(ledger.text)\".\"\($0)\"" }
        let deadline = ContinuousClock.now.advanced(by: .seconds(300))
        var backoff = Backoff(first: .milliseconds(100), longest: .seconds(1))
        for name in names {
            guard try await connection.query("SELECT to_regclass($1) IS NOT NULL", name).only().decode(0, as: Bool.self) else {
                continue
            }
            while true {
                try await connection.execute(script: "SAVEPOINT before_lock; SET LOCAL lock_timeout = '100ms'")
                do {
                    try await connection.execute(script: "LOCK TABLE \(name) IN ACCESS EXCLUSIVE MODE")
                    break
                } catch let error as PostgresError where error.sqlState == .lockNotAvailable && ContinuousClock.now < deadline {
                    try await connection.execute(script: "ROLLBACK TO before_lock")
                    try await backoff.pause()
                }
            }
        }
        try await connection.execute(script: "SET LOCAL lock_timeout = 0")
    }

    /// What rebuilds exclude each other by, and verifications share.
    static func lockKey(ledger: LedgerName, projection: String) -> String { "jobledger rebuild \(ledger).\(projection)" }

    /// Folds everything from `position` to the head, wherever that moves meanwhile.
    private func replay(
        into fold: Fold, from position: Position, on connection: PostgresConnection,
        progress: (Position, Position) async throws -> Void
    ) async throws -> Position {
        var position = position
        var analysis = AnalysisSchedule()
        while true {
            let head: Position = try await connection.query("SELECT head()").only().decode(0)
            guard position < head else { return position }
            let next = min(head, position + window)
            try await fold.apply(after: position, upTo: next, on: connection)
            position = next
            if analysis.isDue(after: position) { try await fold.analyse(on: connection) }
            try await progress(position, head)
        }
    }
}
