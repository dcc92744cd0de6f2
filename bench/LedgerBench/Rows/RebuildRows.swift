import EventStore
import Foundation
import LedgerCore
import Postgres
import Projections

/// A rebuild from its first event to the swap, with indexes and digest, against reading and against
/// folding event by event.
enum RebuildRows {
    static func work(_ workers: Int) -> String {
        """
        rebuild of batch_jobs, 3,000,000 mixed events over 300,000 jobs, \
        \(workers == 1 ? "one worker" : "two workers")
        """
    }
    static let together = "… the rebuild with two workers"
    static let single = "… the rebuild with one worker, against event by event"
    static let all = [work(1), work(2), together, single]

    /// Runs on a separate, longer log, because one-time work of a rebuild, such as statistics,
    /// takes half a second.
    /// - Parameter reading: what the baseline, reading the log, is called.
    static func measure(_ bench: Bench, against reading: String) async throws {
        let events = bench.options.size(3_000_000, quick: 20_000)
        try await bench.part(all) { bench in
            let log = try MixedLog(events: events, jobs: events / 10, in: bench.directory)
            let measured = try await bench.withLedger { ledger in
                try await ledger.fill(copying: log)
                return try await rows(bench, ledger, against: reading)
            }
            try log.remove()
            return measured
        }
    }

    private static func rows(
        _ bench: Bench, _ ledger: BenchLedger, against reading: String
    ) async throws -> [BenchRow] {
        let one = work(1, ledger)
        var rows = try await Contest(
            rounds: bench.options.rounds(3), against: reading, baseline: try await ledger.readingTheLog(),
            candidates: [
                .init(work: work(1), target: .atLeast(0.5), run: one), .init(work: work(2), run: work(2, ledger)),
            ], warmsCandidates: false
        ).run()
        rows += try await Contest(
            rounds: bench.options.rounds(3), against: "the same with one worker", baseline: one,
            candidates: [.init(work: together, target: .atLeast(1.5), run: work(2, ledger))], warmsCandidates: false
        ).run()
        rows += try await bench.withLedger("bench_short") { short in
            try await FilledLog(jobsAtOnce: 100, eventsPerJob: 20).fill(short, events: 2000)
            return try await Contest(
                rounds: bench.options.rounds(3),
                against: "windows of one event, of 2,000 events: a transaction each, which does not wait for the disk",
                baseline: work(1, short, window: 1),
                candidates: [.init(work: single, target: .atLeast(8), run: one)], warmsCandidates: false
            ).run()
        }
        return rows
    }

    private static func work(_ workers: Int, _ ledger: BenchLedger, window: Int = WindowSize.standard) -> Contest.Work {
        {
            let definition = try ProjectionDefinition.batchJobs
            // The replaced tables of an earlier rebuild, and their comparison, are not part of
            // this.
            let connection = try await PostgresConnection.connect(
                EventStore.configuration(url: ledger.url, ledger: ledger.name))
            _ = try await ReplacedTables.discard(definition.name, ledger: ledger.name, on: connection)
            for table in definition.tables { try await connection.execute(script: "DROP TABLE IF EXISTS \(table)") }
            try await connection.query("DELETE FROM projections WHERE name = $1", definition.name)
            try await ledger.settle()
            let head = try await ledger.head()
            let rate = try await Rate.of(Int(head)) {
                let receipt = try await Rebuild(definition, ledger: ledger.name, window: window, workers: workers).run(
                    on: connection)
                guard receipt.position == head else {
                    throw BenchFailure("rebuilt up to \(receipt.position) of \(head)")
                }
            }
            await connection.close()
            return rate
        }
    }
}
