import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// The cost of folding a run does not grow with the event that reports it, the window, the job, the
/// table, or the age of statistics. Cost is counted in touched blocks of tables and indexes, not in
/// seconds.
@Suite struct FoldCostTests {
    private static let sizes = [1000, 10_000, 100_000]
    private static let runsOfOneEvent = 500
    /// The tolerated growth from 1,000 runs to 100,000. Indexes get two levels deeper; a scan would
    /// grow a hundredfold.
    private static let growth = 3.0

    /// How the runs of a job are reported.
    private enum Shape: CaseIterable {
        case oneEvent, oneWindow, manyWindows
    }

    /// The statistics that the planner has of the tables.
    enum Statistics: CaseIterable {
        case none
        case ofEmptyTables
        /// Collected right before each measurement.
        case fresh
        /// Collected before the first job with many runs, when the table had many jobs with one run
        /// each, or with three runs each in the order of the jobs.
        case ofSmallJobs, ofOrderedJobs

        var isOfRuns: Bool { self == .ofSmallJobs || self == .ofOrderedJobs }
    }

    /// Fills the table with rows. `job` and `run` are SQL expressions of `n`, which counts from 0.
    private static func fill(_ job: String, _ run: String, rows: Int) -> String {
        """
        INSERT INTO batch_job_runs
        SELECT n + 1, \(job), \(run), '{}', '{}', '2026-01-01' FROM generate_series(0, \(rows) - 1) AS n;
        ANALYZE batch_job_runs
        """
    }

    /// A job in the log, with the positions of its first and last event.
    private struct Job {
        let shape: Shape
        let runs: Int
        let first: Position
        let last: Position
    }

    @Test func noRunCostsMoreThanAnother() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.store.pool.withConnection { connection in
                try await connection.execute(
                    script: "ALTER TABLE events SET (autovacuum_enabled = off, toast.autovacuum_enabled = off)")
            }
            let jobs = try await Self.append(to: ledger)
            let connection = try await ledger.connect()
            for definition in try ProjectionDefinition.all() where definition.consumes.includes(.job) {
                for statistics in Statistics.allCases where !statistics.isOfRuns || definition.name == "batch_job_runs"
                {
                    try await Self.measure(definition, statistics, jobs, ledger, connection)
                }
            }
            await connection.close()
        }
    }

    /// Appends a job of each shape and size.
    private static func append(to ledger: TestLedger) async throws -> [Job] {
        var jobs: [Job] = []
        for shape in Shape.allCases {
            for size in sizes {
                let name = "\(shape) \(size)"
                var events = [NewEvent(type: "queued", data: #"{"name":"n"}"#)]
                if shape == .oneEvent {
                    events.append(NewEvent(type: "finished", data: #"{"results":{"runs":\#(runs(0..<size))}}"#))
                } else {
                    for first in stride(from: 0, to: size, by: runsOfOneEvent) {
                        let runs = runs(first..<first + runsOfOneEvent)
                        events.append(NewEvent(type: "progress", data: #"{"completed":\#(first),"runs":\#(runs)}"#))
                    }
                }
                let answers = try await ledger.store.append(
                    [AppendRequest(job: name, events: events)], timeout: .seconds(120))
                let appended = try answers[0].get()
                jobs.append(
                    Job(
                        shape: shape, runs: size, first: appended[0].position,
                        last: appended[appended.count - 1].position))
            }
        }
        return jobs
    }

    private static func runs(_ range: Range<Int>) -> String {
        "[" + range.map { #"{"run_index":\#($0),"metrics":{"m":\#($0)}}"# }.joined(separator: ",") + "]"
    }

    /// Folds the log from the beginning, and compares the costs of a run between jobs.
    private static func measure(
        _ definition: ProjectionDefinition, _ statistics: Statistics, _ jobs: [Job], _ ledger: TestLedger,
        _ connection: PostgresConnection
    ) async throws {
        try await connection.execute(script: "DROP TABLE IF EXISTS \(definition.tables.joined(separator: ", "))")
        try await connection.query("DELETE FROM projections WHERE name = $1", definition.name)
        let live = LiveProjection(definition: definition, ledger: ledger.name)
        try await live.install(on: connection)
        let table = definition.tables[0]
        try await connection.execute(script: "ALTER TABLE \(table) SET (autovacuum_enabled = off)")
        switch statistics {
        case .none, .fresh: break
        case .ofEmptyTables: try await connection.execute(script: "ANALYZE \(table)")
        case .ofSmallJobs: try await connection.execute(script: fill("'other ' || n", "0", rows: 20_000))
        case .ofOrderedJobs:
            try await connection.execute(
                script: fill("'another ' || lpad((n / 3)::text, 9, '0')", "n % 3", rows: 25_000))
        }
        /// For each shape, the cost of a run of its smallest job, in blocks.
        var costs: [Shape: Double] = [:]
        for job in jobs {
            if statistics == .fresh { try await connection.execute(script: "ANALYZE \(table)") }
            let before = try await blocks(on: connection)
            var position = job.first - 1
            while position < job.last {
                let upTo = job.shape == .manyWindows ? position + 1 : job.last
                #expect(try await live.step(after: position, upTo: upTo, on: connection) == .advanced(to: upTo))
                position = upTo
            }
            let cost = Double(try await blocks(on: connection) - before) / Double(job.runs)
            let first = costs[job.shape, default: cost]
            costs[job.shape] = first
            #expect(
                cost <= first * growth,
                """
                \(definition.name), \(job.shape) of \(job.runs) runs, statistics \(statistics): \
                \(cost) blocks per run, at first \(first)
                """)
            // A cost that grows would take hours for the larger jobs.
            guard cost <= first * growth else { return }
        }
    }

    /// How many blocks of the ledger's tables and their indexes were touched so far; of one table
    /// if it is given.
    static func blocks(of table: String? = nil, on connection: PostgresConnection) async throws -> Int64 {
        try await connection.query("SELECT pg_stat_force_next_flush()")
        return try await connection.query(
            """
            SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0)
                       + coalesce(toast_blks_read + toast_blks_hit, 0)
                       + coalesce(tidx_blks_read + tidx_blks_hit, 0))::bigint
              FROM pg_statio_user_tables WHERE schemaname = current_schema() AND relname = coalesce($1, relname)
            """, table
        ).only().decode(0)
    }

    /// Without joins no plan can compare each row of a window with every other, a cost that no
    /// count of blocks would show.
    @Test(arguments: ["batch_job_runs", "audit_log", "daily_job_stats"])
    func nothingIsJoined(_ name: String) async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn(name)
            let connection = try await ledger.connect()
            try await LiveProjection(definition: definition, ledger: ledger.name).install(on: connection)
            let plan = try await connection.discardedTransaction { connection in
                for (setting, value) in [("after", "0"), ("upto", "9"), ("types", "progress"), ("kinds", "*")] {
                    try await connection.query("SELECT set_config('jobledger.window_' || $1, $2, true)", setting, value)
                }
                return try await connection.query("EXPLAIN " + definition.applySQL).map {
                    try $0.decode(0, as: String.self)
                }
            }
            #expect(plan.contains { $0.contains("Insert on") }, "\(plan)")
            for join in ["Nested Loop", "Hash Join", "Merge Join"] {
                #expect(!plan.contains { $0.contains(join) }, "\(plan.joined(separator: "\n"))")
            }
            await connection.close()
        }
    }
}
