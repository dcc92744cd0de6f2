import EventStore
import Foundation
import LedgerCore
import Logging
import Postgres
import Seal
import TransparencyLog

/// The cost of sealing the log and of verifying it.
enum SealRows {
    static let sealing = "sealing, 1,000,000 mixed events behind, until the last is signed"
    static let verifying = "audit verify, 1,000,000 mixed events"
    static let appending = "append, 1,000-event batches over 100 active jobs, while the sealer runs"
    private static let appendingAgainst = "the same append, without a sealer"
    private static let sealingAgainst = "append, 1,000-event batches over 100 active jobs, every check on"
    private static let reading =
        "reading the same events: libpq, binary, all columns, windows of 10,000, nothing decoded"

    static func measure(_ bench: Bench) async throws {
        try await bench.part([sealing, verifying]) { bench in
            let events = bench.options.size(1_000_000, quick: 20_000)
            let log = try MixedLog(events: events, jobs: events / 10, in: bench.directory)
            let rows = try await bench.withLedger { ledger in
                try await ledger.fill(copying: log)
                return try await sealed(bench, ledger) + verified(bench, ledger)
            }
            try log.remove()
            return rows
        }
        try await bench.part([appending]) { bench in try await bench.withLedger { try await appended(bench, $0) } }
    }

    /// A sealer of the ledger, with a new key.
    private static func sealer(_ bench: Bench, _ ledger: BenchLedger) throws -> Sealer {
        let memory = bench.directory.appending(path: "signed-\(UInt32.random(in: .min ... .max))")
        return Sealer(
            key: try SealKey(name: "bench/\(ledger.name)"), record: SealerRecord(path: memory.path), url: ledger.url,
            ledger: ledger.name,
            logger: .bench)
    }

    private static func forget(_ ledger: BenchLedger) async throws {
        try await ledger.admin.execute(
            script: """
                ALTER TABLE seal_tiles DISABLE TRIGGER ALL; ALTER TABLE seal_checkpoints DISABLE TRIGGER ALL;
                TRUNCATE seal_tiles, seal_checkpoints;
                ALTER TABLE seal_tiles ENABLE TRIGGER ALL; ALTER TABLE seal_checkpoints ENABLE TRIGGER ALL;
                UPDATE seal SET size = 0, edge = ''; DELETE FROM leases WHERE name = 'sealer'
                """)
        try await ledger.settle()
    }

    private static func sealed(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let head = try await ledger.head()
        return try await bench.withLedger("bench_appended") { appended in
            let jobs = ProgressSource.jobs(100)
            try await appended.queue(jobs)
            let (store, source) = (appended.store(connections: 2), ProgressSource(jobs: jobs))
            let batches = bench.options.size(100, quick: 4)
            let rows = try await Contest(
                rounds: bench.options.rounds(3), against: sealingAgainst,
                baseline: { try await append(source, batches, to: store) },
                candidates: [
                    .init(work: sealing, target: .atLeast(1)) {
                        try await forget(ledger)
                        let sealer = try sealer(bench, ledger)
                        return try await Rate.of(Int(head)) {
                            guard try await sealer.sealUntilHead() == head else {
                                throw BenchFailure("not all events were sealed")
                            }
                        }
                    }
                ], warmsCandidates: false
            ).run()
            await store.close()
            return rows
        }
    }

    private static func append(_ source: ProgressSource, _ batches: Int, to store: EventStore) async throws -> Rate {
        let requests = await source.next(batches * 1000).map(\.request)
        return try await Rate.of(requests.count) {
            for answer in try await store.append(requests) { _ = try answer.get() }
        }
    }

    /// The verification of a sealed log.
    private static func verified(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        try await forget(ledger)
        let head = try await sealer(bench, ledger).sealUntilHead()
        let store = ledger.store(connections: 1)
        let rows = try await Contest(
            rounds: bench.options.rounds(5), against: reading,
            baseline: try await ledger.readingTheLog(),
            candidates: [
                .init(work: verifying, target: .atLeast(0.5)) {
                    try await Rate.of(Int(head)) {
                        let answer = try await SealVerification(store, key: nil).run()
                        guard answer.isClean, answer.position == head else { throw BenchFailure("\(answer)") }
                    }
                }
            ]
        ).run()
        await store.close()
        return rows
    }

    private static func appended(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let jobs = ProgressSource.jobs(100)
        try await ledger.queue(jobs)
        let (store, source) = (ledger.store(connections: 2), ProgressSource(jobs: jobs))
        let batches = bench.options.size(100, quick: 4)
        let sealer = try sealer(bench, ledger)
        let rows = try await Contest(
            rounds: bench.options.rounds(7), against: appendingAgainst,
            baseline: { try await append(source, batches, to: store) },
            candidates: [
                .init(work: appending, target: .atLeast(0.85), note: "earlier events are sealed beforehand") {
                    _ = try await sealer.sealUntilHead()
                    return try await during({ await sealer.run() }) {
                        try await until("the sealer is at work", within: .seconds(20)) {
                            try await SealStatus.load(on: ledger.admin).isActive
                        }
                        let rate = try await append(source, batches, to: store)
                        let head = try await ledger.head()
                        try await until("all is sealed", within: .seconds(300)) {
                            try await SealStatus.load(on: ledger.admin).position == head
                        }
                        return rate
                    }
                }
            ]
        ).run()
        await store.close()
        return rows
    }
}
