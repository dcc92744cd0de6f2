import BlockingIO
import EventStore
package import LedgerCore
package import Postgres

/// Replays the log into fresh tables beside those in use, and then puts them in their place.
///
/// Each window commits together with its position, so that a rebuild that is killed goes on where
/// it was. Readers see the old tables until the moment they see the new ones; the old ones are kept
/// aside until the next rebuild, or until they are dropped.
package struct Rebuild: Sendable {
    /// What a rebuild did.
    package struct Receipt: Sendable, Equatable {
        package let projection: String
        /// What the digest is of. Under appends the tables are already further when they are
        /// swapped in.
        package let position: Position
        package let rows: Int
        package let digest: String
        /// The digest that the tables in use had at the same position; `nil` where another
        /// definition made them, or none.
        package let liveDigest: String?
        /// How many events were replayed.
        package let events: Int64
        package let duration: Duration
        /// How long readers had to wait for the swap.
        package let blocked: Duration
        /// What somebody added to the old table and the new one does not have, with the reason.
        package let notCarried: [String]
    }

    package struct Busy: Error, Sendable, CustomStringConvertible {
        package let projection: String
        package var description: String { "another rebuild, or a verification, of \(projection) is running" }
    }

    /// Something refers to the old tables and would go on doing so.
    package struct Obstructed: Error, Sendable, CustomStringConvertible {
        package let projection: String
        package let obstacles: [String]
        package var description: String {
            """
            \(projection) cannot be rebuilt: what refers to its tables would go on referring to the old ones. Drop it, and make it again afterwards:
              \(obstacles.joined(separator: "\n  "))
            """
        }
    }

    /// What a rebuild is at, for those who wait for it.
    package enum Phase: Sendable, Equatable {
        case resuming(at: Position)
        case makingIndexes(Int)
        case comparing
        /// Live projections are further behind than they may be.
        case yielding(lag: Int64)
        /// A long query, a vacuum or a verification holds the tables.
        case waitingForTables
    }

    let definition: ProjectionDefinition
    let ledger: LedgerName
    let window: Int64
    let workers: Int
    /// Whether what comes after the load is done by two connections at once, or by one.
    let isSideBySide: Bool
    let maxLag: Int64?
    let author: String
    let tell: @Sendable (Phase) -> Void

    /// - Parameters:
    ///   - window: the most events that are folded in one transaction.
    ///   - workers: how many connections work at once: fold, each a part of the streams, and then
    ///     make indexes and take digests. A projection whose key is the log is folded by one.
    ///   - maxLag: how many events live projections may be behind; while they are further, the
    ///     rebuild stands still.
    ///   - by: who is at work, for the record.
    ///   - tell: told when something other than folding begins.
    package init(
        _ definition: ProjectionDefinition, ledger: LedgerName, window: Int = 100_000, workers: Int = 1,
        maxLag: Int64? = nil,
        by: String = Author.current, tell: @escaping @Sendable (Phase) -> Void = { _ in }
    ) {
        precondition(window > 0 && workers > 0)
        self.definition = definition
        self.ledger = ledger
        self.window = Int64(window)
        self.workers = definition.key == .stream ? workers : 1
        isSideBySide = workers > 1
        self.maxLag = maxLag
        author = by
        self.tell = tell
    }

    package typealias Progress = @Sendable (Position, Position) async throws -> Void

    /// - Parameter progress: told after every window how far the replay is, and where the log
    ///   ended.
    package func run(on connection: PostgresConnection, progress: @escaping Progress = { _, _ in }) async throws
        -> Receipt
    {
        let start = ContinuousClock.now
        try await Self.prepare(connection)
        return try await ReplayLock.withLock(
            ReplayLock.rebuild(definition.name, ledger), of: definition.name, on: connection
        ) {
            // One that runs now could hold the swap up for as long as it takes: better to say so
            // before the work than after it.
            try await ReplayLock.withLock(ReplayLock.swap(definition.name, ledger), of: definition.name, on: connection)
            {}
            try await RebuildRecord.clearLeftovers(ledger, on: connection)
            try await refuseObstacles(on: connection)
            var record = try await resumeOrBegin(on: connection)
            if record.position == nil {
                try await ParallelReplay(self, record).run(on: connection, progress: progress)
                guard try await record.join(on: connection) else { throw Overtaken(projection: definition.name) }
                record.position = record.goal
            }
            // One connection after the other, or both beside each other: a digest reads what an
            // index is made of, and neither holds the other up.
            var notCarried = isSideBySide ? [] : try await makeIndexes(record, beside: connection)
            let proof = try await prove(&record, on: connection, progress: progress) { record in
                isSideBySide ? try await makeIndexes(record, beside: connection) : []
            }
            notCarried += proof.notCarried
            let blocked = try await swapIn(&record, proof, since: start, on: connection, progress: progress)
            return Receipt(
                projection: definition.name, position: proof.position, rows: proof.fresh.rows,
                digest: proof.fresh.digest,
                liveDigest: proof.liveDigest, events: proof.position, duration: start.duration(to: .now),
                blocked: blocked,
                notCarried: notCarried)
        }
    }

    /// Somebody cancelled this rebuild, or finished it, while we believed it ours.
    struct Overtaken: Error, CustomStringConvertible {
        let projection: String
        var description: String { "the rebuild of \(projection) was cancelled, or goes on elsewhere" }
    }

    /// What a crash takes back, it takes back together with the position: no need to wait for the
    /// disk. A window changes few rows of a large table: found by the index, and not by reading all
    /// of it for each window, which is what a dear random page lets the planner do.
    static func prepare(_ connection: PostgresConnection) async throws {
        try await connection.execute(script: "SET synchronous_commit = off; SET random_page_cost = 1.1")
        try await connection.endStatementsOfLostClients()
    }

    /// Runs `body` on a connection for the longest statements there are: they may be silent for
    /// long, and are not cancelled for it.
    func withLongStatements<T: Sendable>(
        _ connection: PostgresConnection, _ body: (PostgresConnection) async throws -> T
    )
        async throws
        -> T
    {
        let longRunning = try await connection.another(silence: .seconds(86_400))
        do {
            try await Self.prepare(longRunning)
            let result = try await body(longRunning)
            await longRunning.close()
            return result
        } catch {
            await longRunning.close()
            throw error
        }
    }

    func fresh(_ record: RebuildRecord) -> Fold { Fold(definition, ledger: ledger, schema: record.schema(ledger)) }

    private func refuseObstacles(on connection: PostgresConnection) async throws {
        let obstacles = try await connection.query("SELECT swap_obstacles($1)", definition.tables)
            .map { try $0.decode(0, as: String.self) }
        guard obstacles.isEmpty else { throw Obstructed(projection: definition.name, obstacles: obstacles) }
    }

    private func resumeOrBegin(on connection: PostgresConnection) async throws -> RebuildRecord {
        if let record = try await RebuildRecord.load(definition, on: connection) {
            try await record.requireOwn(ledger, on: connection)
            // What failed may be skipped by now, or tried again: if not, it will be found again.
            try await connection.query(
                "UPDATE rebuilds SET failed_position = null, failed_event = null, error = null WHERE id = $1", record.id
            )
            tell(.resuming(at: record.position ?? 0))
            return record
        }
        let head: Position = try await connection.query("SELECT head()").only().decode(0)
        // Not beyond the tables in use where they can be met: to be compared, both must stand at
        // one position.
        let goal = min(head, try await liveToMeet(on: connection)?.position ?? head)
        return try await RebuildRecord.begin(
            definition, ledger: ledger, slices: workers, goal: goal, by: author, on: connection)
    }

    /// The tables in use, if this definition made them and they are where the log ends, or will be:
    /// they can be met and compared. Those that nobody moves on are not waited for.
    func liveToMeet(on connection: PostgresConnection) async throws -> ProjectionState? {
        guard let live = try await ProjectionState.load(definition.name, on: connection),
            live.definition == definition.hash,
            live.stopped == nil
        else { return nil }
        let isThere: Bool = try await connection.query(
            """
            SELECT head() <= $2 OR EXISTS (SELECT FROM leases WHERE name = 'projection:' || $1 AND is_held(expires_at))
            """, definition.name, live.position
        ).only().decode(0)
        return isThere ? live : nil
    }

    /// Makes the indexes that the tables were loaded without, and those that somebody has added to
    /// the tables in use.
    /// - Returns: those of the second kind that cannot be made, and why.
    private func makeIndexes(_ record: RebuildRecord, beside connection: PostgresConnection) async throws -> [String] {
        try await withLongStatements(connection) { try await makeIndexes(record, on: $0) }
    }

    private func makeIndexes(_ record: RebuildRecord, on connection: PostgresConnection) async throws -> [String] {
        let fresh = fresh(record)
        for table in definition.tables {
            try await connection.execute(script: "VACUUM (ANALYZE) \"\(fresh.schema)\".\"\(table)\"")
        }
        if !record.indexes.isEmpty { tell(.makingIndexes(record.indexes.count)) }
        let indexes = record.indexes.isEmpty ? [] : try await fresh.definedIndexes(on: connection)
        for index in indexes where record.indexes.contains(index.name) {
            try await connection.transaction { connection in
                try await fresh.make(index, on: connection)
                try await connection.query(
                    "UPDATE rebuilds SET indexes = array_remove(indexes, $2) WHERE id = $1", record.id, index.name)
            }
        }
        var notCarried: [String] = []
        for table in definition.tables {
            let added = try await connection.query("SELECT added_indexes($1, $2)", fresh.schema, table)
            for row in added {
                let index: String = try row.decode(0)
                do {
                    try await connection.execute(script: index)
                } catch let error as PostgresError where error.kind == .server && !error.isRetriable {
                    notCarried.append("\(index): \(error.message)")
                }
            }
        }
        return notCarried
    }

    // MARK: The joined tables

    /// Folds everything up to `limit`, or to the head, wherever that moves meanwhile.
    func catchUp(
        _ record: inout RebuildRecord, upTo limit: Position? = nil, on connection: PostgresConnection,
        progress: Progress
    ) async throws {
        let id = record.id
        let steps = FoldingSteps(fold: fresh(record)) { try await RebuildRecord.advance(id, from: $0, to: $1, on: $2) }
        while true {
            let goal =
                if let limit { limit } else {
                    try await connection.query("SELECT head()").only().decode(0, as: Position.self)
                }
            guard let position = record.position, position < goal else { return }
            if limit == nil { try await yieldToLive(on: connection) }
            record.position = try await folded(
                steps.step(after: position, upTo: min(goal, position + window), on: connection), record, on: connection)
            try await progress(record.position ?? position, goal)
        }
    }

    /// How far a step has come. Throws where it has not come anywhere, and records why.
    func folded(
        _ step: FoldingSteps.Step, _ record: RebuildRecord, on connection: PostgresConnection
    ) async throws -> Position {
        switch step {
        case .advanced(let position): return position
        case .overtaken: throw Overtaken(projection: definition.name)
        case .failed(let position, let error):
            let event = try await connection.eventID(at: position)
            try await record.fail(at: position, event: event, error: error.description, on: connection)
            throw FoldFailure(projection: definition.name, position: position, event: event, error: error.description)
        }
    }

    /// Stands still while live projections are further behind than they may be.
    func yieldToLive(on connection: PostgresConnection) async throws {
        guard let maxLag else { return }
        while true {
            // The tables that wait for this very rebuild stay where they are, and are not meant.
            let lag: Int64 = try await connection.query(
                """
                SELECT coalesce(head() - min(position), 0) FROM projections
                 WHERE state = 'running' AND NOT (name = $1 AND definition <> $2)
                   AND EXISTS (SELECT FROM leases WHERE leases.name = 'projection:' || projections.name AND is_held(expires_at))
                """, definition.name, definition.hash
            ).only().decode(0)
            guard lag > maxLag else { return }
            tell(.yielding(lag: lag))
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}
