package import EventStore
package import LedgerCore
package import Logging
import Postgres

/// Refolds a sample of streams again and again, and compares their rows with the tables in use: a
/// permanent audit for the cost of a few streams per second.
///
/// Each sample has one snapshot, in which the tables and their checkpoint belong together. Streams
/// are chosen by drawing events, so one of 100 events is compared ten times as often as one of 10.
package struct DriftCheck: Sendable {
    private let definition: ProjectionDefinition
    private let store: EventStore
    private let jobsPerSecond: Double
    private let logger: Logger
    /// Seconds between samples. A sample has several jobs, because each sample makes and drops
    /// temporary tables.
    private static let interval = 5.0
    private static let mostDifferences = 10

    /// - Parameter jobsPerSecond: how many jobs to refold per second.
    package init(_ definition: ProjectionDefinition, store: EventStore, jobsPerSecond: Double, logger: Logger) {
        precondition(definition.key == .stream && jobsPerSecond > 0)
        self.definition = definition
        self.store = store
        self.jobsPerSecond = jobsPerSecond
        var logger = logger
        logger[metadataKey: "projection"] = "\(definition.name)"
        self.logger = logger
    }

    /// Runs until the task is cancelled.
    package func run() async throws {
        let pause = max(Self.interval, 1 / jobsPerSecond)
        let jobs = max(1, Int((jobsPerSecond * pause).rounded()))
        while true {
            try await Task.sleep(for: .seconds(pause))
            do {
                _ = try await compareSample(of: jobs)
            } catch let error as PostgresError where error.kind != .cancelled {
                logger.warning("the drift check was interrupted", metadata: ["error": "\(error)"])
            }
        }
    }

    /// The result of one sample.
    package struct Finding: Sendable {
        package let position: Position
        package let jobs: Int
        package let differences: [RowDifference]
    }

    /// Refolds up to `jobs` random jobs, compares their rows, and records the result.
    /// - Returns: `nil` if there is nothing to compare.
    package func compareSample(of jobs: Int) async throws -> Finding? {
        try await store.pool.withConnection { connection in
            // The snapshot could not see the rows of new tables: no swap may happen meanwhile, and
            // while one happens there is no sample.
            let finding: Finding?
            do {
                finding = try await ReplayLock.withLock(
                    ReplayLock.swap(definition.name, store.ledger), of: definition.name, shared: true, timeout: .zero,
                    on: connection
                ) {
                    try await connection.discardedTransaction(.repeatableRead) { try await compare(jobs, on: $0) }
                }
            } catch is Rebuild.Busy {
                return nil
            }
            guard let finding else { return nil }
            let described = finding.differences.map(Self.describe)
            let drifted = Set(finding.differences.map(\.key)).count
            try await connection.query(
                "SELECT record_drift_check($1, $2, $3, $4, $5)", definition.name, finding.jobs,
                min(drifted, finding.jobs), finding.position, described.first)
            for line in described {
                logger.error(
                    """
                    the table has drifted from the log: jobledger verify \(definition.name) shows all differences, \
                    jobledger rebuild \(definition.name) repairs them
                    """,
                    metadata: ["position": "\(finding.position)", "row": "\(line)"])
            }
            return finding
        }
    }

    private static func describe(_ difference: RowDifference) -> String {
        let what =
            if difference.live == nil {
                "the row is missing"
            } else if difference.expected == nil {
                "no event gives this row"
            } else {
                difference.columns.joined(separator: ", ")
            }
        return "\(difference.table) \(difference.key): \(what)"
    }

    private func compare(_ count: Int, on connection: PostgresConnection) async throws -> Finding? {
        guard let state = try await ProjectionState.load(definition.name, on: connection),
            state.definition == definition.hash,
            state.position > 0
        else { return nil }
        try await connection.execute(script: Fold.consumed(by: definition))
        let jobs = try await connection.query(Self.streamsOfRandomEvents, state.position, count).map {
            try $0.decode(0, as: JobID.self)
        }
        let fold = StreamFold(definition, ledger: store.ledger)
        try await fold.begin(jobs, on: connection)
        try await fold.apply(after: 0, upTo: state.position, on: connection)
        var differences: [RowDifference] = []
        for table in definition.tables where differences.count < Self.mostDifferences {
            differences += try await differ(table, jobs, on: connection)
        }
        return Finding(position: state.position, jobs: jobs.count, differences: differences)
    }

    /// The streams of $2 random events up to the position $1.
    private static let streamsOfRandomEvents = """
        SELECT DISTINCT stream_id::text FROM consumed_events
         WHERE position = ANY (ARRAY(SELECT 1 + floor(random() * $1)::bigint FROM generate_series(1, $2)))
        """

    /// The differing rows of `jobs` in a table. A row belongs to the stream whose id is part of its
    /// key.
    private func differ(_ table: String, _ jobs: [JobID], on connection: PostgresConnection) async throws
        -> [RowDifference]
    {
        let shape = try await TableShape.of(table, in: store.ledger.text, on: connection)
        let conditions = shape.key.filter(\.isText).map { "\($0.name)::text = ANY ($jobs)" }
        guard !conditions.isEmpty else { return [] }
        let list: String = try await connection.query("SELECT quote_literal($1::text[])", jobs).only().decode(0)
        let condition = conditions.joined(separator: " OR ").replacing("$jobs", with: "\(list)::text[]")
        let sample = "drift_sample_of_\(table)".prefix(63)
        try await connection.execute(
            script: "CREATE TEMPORARY VIEW \"\(sample)\" AS SELECT * FROM \(shape.qualified) WHERE \(condition)")
        let live = TableShape(qualified: "pg_temp.\"\(sample)\"", columns: shape.columns, key: shape.key)
        return try await RowDifference.between(
            live: live, expected: try await .of(table, in: "pg_temp", on: connection), table: table,
            limit: Self.mostDifferences, on: connection)
    }
}
