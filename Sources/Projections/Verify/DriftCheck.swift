package import EventStore
package import LedgerCore
package import Logging
import Postgres

/// Keeps refolding a sample of jobs in production and compares them with the tables in use: an
/// audit that never ends, for the price of a few jobs a second.
///
/// Each look has one snapshot, in which the tables and their checkpoint belong together. A job is
/// drawn with its events: one of a hundred events is looked at ten times as often as one of ten.
package struct DriftCheck: Sendable {
    private let definition: ProjectionDefinition
    private let store: EventStore
    private let jobsPerSecond: Double
    private let logger: Logger
    /// Several jobs share a look, since each makes and drops temporary tables.
    private static let interval = 5.0
    private static let mostDifferences = 10

    /// - Parameter jobsPerSecond: how many jobs are refolded a second.
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
                _ = try await look(at: jobs)
            } catch let error as PostgresError where error.kind != .cancelled {
                logger.warning("the drift check was interrupted", metadata: ["error": "\(error)"])
            }
        }
    }

    /// What one look has found.
    package struct Finding: Sendable {
        package let position: Position
        package let jobs: Int
        package let differences: [RowDifference]
    }

    /// Refolds so many jobs, chosen at random, compares and records. `nil` while there is nothing
    /// to compare.
    package func look(at jobs: Int) async throws -> Finding? {
        try await store.pool.withConnection { connection in
            // This snapshot could not see what a swap brings: none meanwhile, and no look while
            // there is one.
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
            let described = finding.differences.map { difference in
                "\(difference.table) \(difference.key): "
                    + (difference.live == nil
                        ? "the row is missing"
                        : difference.expected == nil
                            ? "no event gives this row" : difference.columns.joined(separator: ", "))
            }
            let drifted = Set(finding.differences.map(\.key)).count
            try await connection.query(
                "SELECT record_drift_check($1, $2, $3, $4, $5)", definition.name, finding.jobs,
                min(drifted, finding.jobs),
                finding.position, described.first)
            for line in described {
                logger.error(
                    "the table has drifted from the log: jobledger verify \(definition.name) tells all, rebuild mends it",
                    metadata: ["position": "\(finding.position)", "row": "\(line)"])
            }
            return finding
        }
    }

    private func compare(_ count: Int, on connection: PostgresConnection) async throws -> Finding? {
        guard let state = try await ProjectionState.load(definition.name, on: connection),
            state.definition == definition.hash,
            state.position > 0
        else { return nil }
        let jobs = try await connection.query(
            """
            SELECT DISTINCT stream_id::text FROM events
             WHERE position = ANY (ARRAY(SELECT 1 + floor(random() * $1)::bigint FROM generate_series(1, $2)))
            """, state.position, count
        ).map { try $0.decode(0, as: JobID.self) }
        let fold = StreamFold(definition, ledger: store.ledger)
        try await fold.begin(jobs, on: connection)
        try await fold.apply(after: 0, upTo: state.position, on: connection)
        var differences: [RowDifference] = []
        for table in definition.tables where differences.count < Self.mostDifferences {
            differences += try await differ(table, jobs, on: connection)
        }
        return Finding(position: state.position, jobs: jobs.count, differences: differences)
    }

    /// The rows of `jobs` in which the table in use differs. Which rows are a job's is told by the
    /// part of the key that holds its id.
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
