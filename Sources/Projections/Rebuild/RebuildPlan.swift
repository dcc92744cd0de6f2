import EventStore
package import LedgerCore
package import Postgres

/// What a rebuild would do, computed before it begins.
package struct RebuildPlan: Sendable {
    package let projection: String
    /// Whether this definition made the tables in use; `nil` if there are none.
    package let isSameDefinition: Bool?
    /// The position of the log's last event.
    package let head: Position
    /// How many events it would fold: all, or what an unfinished rebuild has left.
    package let events: Int64
    /// The unfinished rebuild that it would resume; `nil` if it would begin a new one.
    package let resumes: RebuildState?
    /// How many connections would fold at the same time.
    package let workers: Int
    /// The expected events per second, and in ``rateOf`` where that figure comes from.
    package let rate: Double?
    package let rateOf: String
    /// What must be dropped before the rebuild.
    package let obstacles: [String]

    package var seconds: Double? { rate.map { Double(events) / $0 } }

    private static let sampleEvents: Int64 = 500_000
    private static let sampleTime = Duration.seconds(2)

    /// - Parameter workers: the number of workers of the rebuild.
    package static func make(
        _ definition: ProjectionDefinition, ledger: LedgerName, workers: Int, on connection: PostgresConnection
    ) async throws -> RebuildPlan {
        let head = try await connection.durableHead()
        let live = try await ProjectionState.load(definition.name, on: connection)
        let resumes = try await RebuildState.all(ledger: ledger, on: connection).first {
            $0.projection == definition.name && $0.definition == definition.hash
        }
        let obstacles = try await Rebuild.obstacles(to: definition, on: connection)
        let (rate, rateOf): (Double?, String) =
            if let last = try await lastRate(of: definition, on: connection) {
                last
            } else {
                try await sample(definition, ledger, upTo: min(head, sampleEvents), on: connection)
            }
        return RebuildPlan(
            projection: definition.name, isSameDefinition: live.map { $0.definition == definition.hash }, head: head,
            events: head - (resumes?.position ?? 0), resumes: resumes, workers: definition.key == .stream ? workers : 1,
            rate: rate, rateOf: rateOf, obstacles: obstacles)
    }

    /// The rate of the last long rebuild with this definition.
    private static func lastRate(
        of definition: ProjectionDefinition, on connection: PostgresConnection
    ) async throws -> (Double?, String)? {
        try await connection.query(lastRebuild, definition.name, definition.hash).first.map { row in
            let (number, workers): (Int64, Int) = (try row.decode("number"), try row.decode("workers"))
            return (try row.decode("rate"), "the last rebuild, receipt \(number), workers: \(workers)")
        }
    }

    private static let lastRebuild = """
        SELECT events / seconds AS rate, number, workers FROM receipts
         WHERE kind = 'rebuild' AND projection = $1 AND definition = $2
           AND events >= 100000 AND seconds > 0 AND seconds < 'Infinity'
         ORDER BY number DESC LIMIT 1
        """

    /// Measures the rate: folds the beginning of the log for two seconds, in a transaction that is
    /// rolled back.
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
