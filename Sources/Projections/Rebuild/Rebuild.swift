import BlockingIO
import EventStore
package import LedgerCore
package import Postgres

/// Replays the log into fresh tables beside those in use, and then swaps them.
///
/// Each window commits together with its position, so a killed rebuild resumes where it was.
/// Readers see the old tables until the swap, and the new ones after it. The old tables are kept
/// until the next rebuild, or until they are dropped.
package struct Rebuild: Sendable {
    /// What a rebuild did.
    package struct Receipt: Sendable, Equatable {
        package let projection: String
        /// The position of the digest. If events are appended meanwhile, the tables are further
        /// ahead when they are swapped in.
        package let position: Position
        package let rows: Int
        package let digest: String
        /// The digest of the tables in use at the same position; `nil` if there were none or
        /// another definition made them.
        package let liveDigest: String?
        /// The number of replayed events.
        package let events: Int64
        package let duration: Duration
        /// How long readers waited for the swap.
        package let blocked: Duration
        /// What users added to the old tables and the new ones lack, with the reason.
        package let notCarried: [String]
    }

    package struct Busy: Error, Sendable, CustomStringConvertible {
        package let projection: String
        package var description: String { "another rebuild, or a verification, of \(projection) is running" }
    }

    /// Something refers to the tables in use, and would still refer to them after the swap.
    package struct Obstructed: Error, Sendable, CustomStringConvertible {
        package let projection: String
        package let obstacles: [String]
        package var description: String {
            """
            \(projection) cannot be rebuilt: what refers to its tables would go on referring to the old ones. Drop it, \
            and make it again afterwards:
              \(obstacles.joined(separator: "\n  "))
            """
        }
    }

    /// What a rebuild is doing.
    package enum Phase: Sendable, Equatable {
        case resuming(at: Position)
        case makingIndexes(Int)
        case comparing
        /// Live projections are further behind than `maxLag` allows.
        case yielding(lag: Int64)
        /// A long query, a vacuum or a verification holds the tables.
        case waitingForTables
    }

    let definition: ProjectionDefinition
    let ledger: LedgerName
    let window: Int64
    let workers: Int
    /// Whether indexes and digests are made at the same time, on two connections.
    let isSideBySide: Bool
    let maxLag: Int64?
    let author: String
    let tell: @Sendable (Phase) -> Void

    /// - Parameters:
    ///   - window: the most events that are folded in one transaction.
    ///   - workers: how many connections work at once. Each folds a part of the streams; then they
    ///     make indexes and digests. A projection whose key is the log is folded by one.
    ///   - maxLag: pauses the rebuild while live projections are more events behind than this.
    ///   - by: the author to record.
    ///   - tell: called when something other than folding begins.
    package init(
        _ definition: ProjectionDefinition, ledger: LedgerName, window: Int = WindowSize.standard, workers: Int = 1,
        maxLag: Int64? = nil, by: String = Author.current,
        tell: @escaping @Sendable (Phase) -> Void = { _ in }
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

    /// - Parameter progress: called after every window with the replayed position and the end of
    ///   the log.
    package func run(on connection: PostgresConnection, progress: @escaping Progress = { _, _ in }) async throws
        -> Receipt
    {
        let start = ContinuousClock.now
        try await Self.prepare(connection)
        return try await ReplayLock.withLock(
            ReplayLock.rebuild(definition.name, ledger), of: definition.name, on: connection
        ) {
            // A verification that runs now would delay the swap until it ends: better to report
            // that before the work than after it.
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
            // With two connections the indexes are made while the digests are computed: neither
            // blocks the other.
            var notCarried = isSideBySide ? [] : try await makeIndexes(record, beside: connection)
            let proof = try await prove(&record, on: connection, progress: progress) { record in
                isSideBySide ? try await makeIndexes(record, beside: connection) : []
            }
            notCarried += proof.notCarried
            let blocked = try await swapIn(&record, proof, since: start, on: connection, progress: progress)
            return Receipt(
                projection: definition.name, position: proof.position, rows: proof.fresh.rows,
                digest: proof.fresh.digest, liveDigest: proof.liveDigest, events: proof.position,
                duration: start.duration(to: .now), blocked: blocked, notCarried: notCarried)
        }
    }

    /// Another process cancelled or continued this rebuild meanwhile.
    struct Overtaken: Error, CustomStringConvertible {
        let projection: String
        var description: String { "the rebuild of \(projection) was cancelled, or goes on elsewhere" }
    }

    /// Prepares a connection for folding. A crash takes back a window together with its position,
    /// so commits need not wait for the disk. A window changes few rows of a large table, and cheap
    /// random pages make the planner find them by the index instead of reading the whole table.
    static func prepare(_ connection: PostgresConnection) async throws {
        try await connection.execute(script: "SET synchronous_commit = off; SET random_page_cost = 1.1")
        try await connection.endStatementsOfLostClients()
    }

    /// Runs `body` on a connection of its own for statements that may run for hours: they are not
    /// cancelled for their silence.
    func withLongStatements<T: Sendable>(
        _ connection: PostgresConnection, _ body: (PostgresConnection) async throws -> T
    ) async throws -> T {
        try await connection.withAnother(silence: .seconds(86_400)) { longRunning in
            try await Self.prepare(longRunning)
            return try await body(longRunning)
        }
    }

    func fresh(_ record: RebuildRecord) -> Fold { Fold(definition, ledger: ledger, schema: record.schema(ledger)) }

    private func refuseObstacles(on connection: PostgresConnection) async throws {
        let obstacles = try await Self.obstacles(to: definition, on: connection)
        guard obstacles.isEmpty else { throw Obstructed(projection: definition.name, obstacles: obstacles) }
    }

    /// What refers to the tables in use and cannot be carried over to new ones.
    static func obstacles(to definition: ProjectionDefinition, on connection: PostgresConnection) async throws
        -> [String]
    {
        try await connection.query("SELECT swap_obstacles($1)", definition.tables).map { try $0.decode(0) }
    }

    private func resumeOrBegin(on connection: PostgresConnection) async throws -> RebuildRecord {
        if let record = try await RebuildRecord.load(definition, on: connection) {
            try await record.requireOwn(ledger, on: connection)
            // The event that failed may have been skipped meanwhile. If not, it fails again.
            try await record.forgetFailure(on: connection)
            tell(.resuming(at: record.position ?? 0))
            return record
        }
        let head = try await connection.durableHead()
        // Not beyond the tables in use if they can be compared: both must be at one position.
        let goal = min(head, try await liveToCompare(on: connection)?.position ?? head)
        return try await RebuildRecord.begin(
            definition, ledger: ledger, slices: workers, goal: goal, by: author, on: connection)
    }

    /// The live projection, if the rebuild can compare its tables: this definition made them, and
    /// they are at the head, or a projector moves them there. Others are not waited for.
    func liveToCompare(on connection: PostgresConnection) async throws -> ProjectionState? {
        guard let live = try await ProjectionState.load(definition.name, on: connection),
            live.definition == definition.hash,
            live.stopped == nil
        else { return nil }
        let row = try await connection.query(Self.isAtHeadOrMoving, definition.name, live.position).first
        return try row?.decode(0) ?? false ? live : nil
    }

    private static let isAtHeadOrMoving =
        "SELECT head() <= $2 OR \(ProjectionState.hasProjector) FROM projections WHERE name = $1"

    /// Makes the indexes that the tables were loaded without, and those that users added to the
    /// tables in use.
    /// - Returns: the added indexes that cannot be made, with the reason.
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
                try await record.noteMade(index.name, on: connection)
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

    // MARK: After the slices

    /// Folds everything up to `limit`, or else up to the head, however far that moves meanwhile.
    func catchUp(
        _ record: inout RebuildRecord, upTo limit: Position? = nil, on connection: PostgresConnection,
        progress: Progress
    ) async throws {
        let id = record.id
        let steps = FoldingSteps(fold: fresh(record)) { try await RebuildRecord.advance(id, from: $0, to: $1, on: $2) }
        while true {
            let goal = if let limit { limit } else { try await connection.durableHead() }
            guard let position = record.position, position < goal else { return }
            if limit == nil { try await yieldToLive(on: connection) }
            record.position = try await folded(
                steps.step(after: position, upTo: min(goal, position + window), on: connection), record, on: connection)
            try await progress(record.position ?? position, goal)
        }
    }

    /// The position that a step reached. If it failed, records why and throws.
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

    /// Waits while live projections are further behind than `maxLag` allows.
    func yieldToLive(on connection: PostgresConnection) async throws {
        guard let maxLag else { return }
        while true {
            // Tables that this rebuild will replace, because their definition changed, do not
            // count.
            let lag: Int64 = try await connection.query(Self.lagOfOthers, definition.name, definition.hash).only()
                .decode(0)
            guard lag > maxLag else { return }
            tell(.yielding(lag: lag))
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private static let lagOfOthers = """
        SELECT coalesce(head() - min(position), 0) FROM projections
         WHERE state = 'running' AND NOT (name = $1 AND definition <> $2) AND \(ProjectionState.hasProjector)
        """
}
