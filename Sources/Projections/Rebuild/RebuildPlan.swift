import EventStore
package import LedgerCore
package import Postgres

/// What a rebuild would do, before it is begun.
package struct RebuildPlan: Sendable {
    package let projection: String
    /// Whether the tables in use were made by this definition; `nil` where there are none.
    package let isSameDefinition: Bool?
    /// Where the log ends.
    package let head: Position
    /// How many events are to be folded: all of them, or what a rebuild that was begun has left.
    package let events: Int64
    /// The rebuild that was begun and goes on; `nil` where a new one begins.
    package let resumes: RebuildState?
    /// How many connections would fold at once.
    package let workers: Int
    /// Events a second, and where that figure comes from.
    package let rate: Double?
    package let rateOf: String
    /// What must be dropped before.
    package let obstacles: [String]

    package var seconds: Double? { rate.map { Double(events) / $0 } }

    private static let sampleEvents: Int64 = 500_000
    private static let sampleTime = Duration.seconds(2)

    /// - Parameter workers: how many the rebuild would have.
    package static func make(
        _ definition: ProjectionDefinition, ledger: LedgerName, workers: Int, on connection: PostgresConnection
    ) async throws -> RebuildPlan {
        let head: Position = try await connection.query("SELECT head()").only().decode(0)
        let live = try await ProjectionState.load(definition.name, on: connection)
        let resumes = try await RebuildState.all(ledger: ledger, on: connection).first {
            $0.projection == definition.name && $0.definition == definition.hash
        }
        let obstacles = try await connection.query("SELECT swap_obstacles($1)", definition.tables)
            .map { try $0.decode(0, as: String.self) }
        let last = try await connection.query(
            """
            SELECT events / seconds AS rate, number, workers FROM receipts
             WHERE kind = 'rebuild' AND projection = $1 AND definition = $2 AND events >= 100000 AND seconds > 0 AND seconds < 'Infinity'
             ORDER BY number DESC LIMIT 1
            """, definition.name, definition.hash
        ).first
        let (rate, rateOf): (Double?, String) =
            if let last {
                (
                    try last.decode("rate", as: Double.self),
                    "the last rebuild, receipt \(try last.decode("number", as: Int64.self)), workers: \(try last.decode("workers", as: Int.self))"
                )
            } else {
                try await sample(definition, ledger, upTo: min(head, sampleEvents), on: connection)
            }
        return RebuildPlan(
            projection: definition.name, isSameDefinition: live.map { $0.definition == definition.hash }, head: head,
            events: head - (resumes?.position ?? 0), resumes: resumes, workers: definition.key == .stream ? workers : 1,
            rate: rate, rateOf: rateOf, obstacles: obstacles)
    }

    /// Folds the beginning of the log for two seconds, in a transaction that is rolled back.
    private static func sample(
        _ definition: ProjectionDefinition, _ ledger: LedgerName, upTo limit: Position,
        on connection: PostgresConnection
    ) async throws -> (Double?, String) {
        guard limit > 0 else { return (nil, "the log is empty") }
        return try await connection.discardedTransaction { connection in
            let fold = Fold(
                definition, ledger: ledger, schema: Fold.schemaBeside(ledger, process: await connection.serverProcess))
            try await connection.execute(script: "CREATE SCHEMA \"\(fold.schema)\"")
            try await fold.createTables(on: connection)
            let start = ContinuousClock.now
            var position: Position = 0
            while position < limit, start.duration(to: .now) < sampleTime {
                let next = min(limit, position + 50_000)
                try await fold.apply(after: position, upTo: next, on: connection)
                position = next
            }
            let seconds = start.duration(to: .now) / .seconds(1)
            return (Double(position) / max(seconds, 1e-6), "a sample of the first \(position) events, one worker")
        }
    }
}
