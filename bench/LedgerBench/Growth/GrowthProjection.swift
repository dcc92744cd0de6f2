import EventStore
import Foundation
import LedgerCore
import Postgres
import Projections

extension GrowthFigures {
    /// The time to look up one random job, in milliseconds.
    static func lookUps(
        _ bench: Bench, _ ledger: BenchLedger, _ log: FilledLog, written: Int
    ) async throws -> (history: [Double], show: [Double], showAt: [Double]) {
        let store = ledger.store(connections: 1)
        let definition = try ProjectionDefinition.batchJobs
        let (model, head, count) = (
            try StreamReadModel(definition, of: .job, store: store), try await ledger.head(), log.jobs(in: written)
        )
        var (history, show, showAt): ([Double], [Double], [Double]) = ([], [], [])
        func time(_ body: () async throws -> Void) async rethrows -> Double {
            let start = ContinuousClock.now
            try await body()
            return start.duration(to: .now) / .milliseconds(1)
        }
        for _ in 0..<bench.options.size(300, quick: 20) {
            let job: JobID = try await ledger.admin.query(
                "SELECT \(FilledLog.jobID) FROM (SELECT $1::bigint AS number) AS job", Int.random(in: 0..<count)
            ).only().decode(0)
            history.append(
                try await time {
                    guard try await !store.page(EventQuery(job: job)).isEmpty else {
                        throw BenchFailure("\(job) has no events")
                    }
                })
            show.append(
                try await time {
                    guard try await model.row(job) != nil else { throw BenchFailure("\(job) has no row") }
                })
            showAt.append(
                try await time {
                    guard try await model.row(job, at: head) != nil else {
                        throw BenchFailure("\(job) has no row at \(head)")
                    }
                })
        }
        await store.close()
        return (history, show, showAt)
    }

    /// The rate of the projector over the last 100,000 events, in events per second. The rows of
    /// earlier jobs are inserted directly, because folding the whole log would take longer than
    /// everything else.
    static func project(
        _ bench: Bench, _ ledger: BenchLedger, _ log: FilledLog, written: Int
    ) async throws -> Double {
        let definition = try ProjectionDefinition.batchJobs
        let (admin, head) = (ledger.admin, try await ledger.head())
        let backlog = min(100_000, written)
        for table in definition.tables { try await admin.execute(script: "DROP TABLE IF EXISTS \(table)") }
        try await admin.query("DELETE FROM projections WHERE name = $1", definition.name)
        try await LiveProjection(definition: definition, ledger: ledger.name).install(on: admin)
        try await admin.execute(
            script: """
                INSERT INTO batch_jobs (id, name, kind, status, total, completed, created_at, updated_at)
                SELECT \(FilledLog.jobID), 'SMA crossover', 'server', 'finished', 100, 100, '2026-01-01', '2026-01-01'
                  FROM generate_series(0, \(log.jobs(in: written - backlog)) - 1) AS number;
                UPDATE projections SET position = \(Int(head) - backlog) WHERE name = '\(definition.name)'
                """)
        try await admin.execute(script: "VACUUM (ANALYZE) batch_jobs")
        try await ledger.settle()
        let store = ledger.store(connections: 2)
        let projector = Projector(definition, store: store, url: ledger.url, logger: .bench)
        let rate = try await Rate.of(backlog) {
            try await during({ await projector.run() }) {
                try await until("batch_jobs has come to \(head)", within: .seconds(300)) {
                    try await ProjectionState.all(on: admin).contains {
                        $0.name == definition.name && $0.position == head
                    }
                }
            }
        }
        await store.close()
        return rate.perSecond
    }
}

extension ProjectionDefinition {
    static var batchJobs: ProjectionDefinition {
        get throws {
            guard let definition = try all(in: nil).first(where: { $0.name == "batch_jobs" }) else {
                throw BenchFailure("there is no projection batch_jobs")
            }
            return definition
        }
    }
}
