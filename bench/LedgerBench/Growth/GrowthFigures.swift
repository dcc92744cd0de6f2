import EventStore
import Foundation
import LedgerCore
import Postgres
import Projections

/// The measurements at one size of the log.
struct GrowthFigures: Sendable {
    var appending: BenchRow
    /// The rate of raw COPY into a small table in the same run, which shows how fast the machine
    /// was then.
    var control: Double
    var oneCaller: Double
    var callers: Double
    var randomRead: BenchRow
    var lastRead: BenchRow
    var history: [Double] = []
    var show: [Double] = []
    var showAt: [Double] = []
    var projecting: Double
    var bytes: Double

    static func measure(_ bench: Bench, _ ledger: BenchLedger, _ log: FilledLog, written: Int) async throws
        -> GrowthFigures
    {
        await bench.report.progress("measuring at \(written)")
        // The projection comes first, because it needs the log as it was filled.
        let projecting = try await project(bench, ledger, log, written: written)
        let (history, show, showAt) = try await lookUps(bench, ledger, log, written: written)
        let reading = try await read(bench, ledger)
        let bytes: Double = try await ledger.admin.query(
            "SELECT pg_total_relation_size('events')::float8 / head()"
        ).only().decode(0)
        let (appending, control) = try await append(bench, ledger)
        let (oneCaller, callers) = try await appendSingly(bench, ledger)
        return GrowthFigures(
            appending: appending, control: control, oneCaller: oneCaller, callers: callers, randomRead: reading[0],
            lastRead: reading[1], history: history, show: show, showAt: showAt, projecting: projecting, bytes: bytes)
    }

    /// Batches of 1,000 events against raw COPY into the same log, after its head: a table of the
    /// same length, with the same indexes.
    private static func append(_ bench: Bench, _ ledger: BenchLedger) async throws -> (BenchRow, control: Double) {
        let run = UInt32.random(in: .min ... .max)
        let (jobs, copied) = (
            (0..<100).map { JobID("growing-\(run)-\($0)") }, (0..<100).map { JobID("copied-\(run)-\($0)") }
        )
        try await ledger.queue(jobs + copied)
        try await ledger.admin.execute(script: "DROP TABLE IF EXISTS control")
        let batches = bench.options.size(60, quick: 4)
        let control = try await BatchRows.copy(ledger, copied, batches, "control", .same, "control")
        let bare = try await ledger.bare()
        // Sets the mark that append sets, without the check at commit that the commit waits for the
        // disk.
        try await bare.run("SET jobledger.appending = 'noted'")
        let (store, source, copies) = (
            ledger.store(connections: 2), ProgressSource(jobs: jobs), ProgressSource(jobs: copied)
        )
        let rows = try await Contest(
            rounds: bench.options.rounds(5),
            against: "raw COPY, 1,000 rows a transaction, behind the head of the same log",
            baseline: {
                var position = try await ledger.head()
                var chunks: [[UInt8]] = []
                for _ in 0..<batches {
                    let recordedAt = Timestamp.now.description
                    var bytes: [UInt8] = []
                    for event in await copies.next(1000) {
                        position += 1
                        event.appendCopyLine(position: position, recordedAt: recordedAt, to: &bytes)
                    }
                    chunks.append(bytes)
                }
                let all = chunks
                return try await Rate.of(batches * 1000) {
                    try await bare.copy("COPY events (\(BenchEvent.copyColumns)) FROM STDIN") {
                        all.indices.contains($0) ? all[$0] : nil
                    }
                }
            },
            candidates: [
                .init(work: "append") {
                    let requests = await source.next(batches * 1000).map(\.request)
                    return try await Rate.of(requests.count) {
                        for answer in try await store.append(requests) { _ = try answer.get() }
                    }
                },
                control,
            ]
        ).run()
        await store.close()
        // By the rounds, which measured both at the same time.
        let (ours, rate) = (rows[0], rows[0].ours ?? 0)
        return (ours, rate * (rows[1].ratio ?? 0) / (ours.ratio ?? 1))
    }

    private static func appendSingly(_ bench: Bench, _ ledger: BenchLedger) async throws -> (one: Double, many: Double)
    {
        let one = try await SingleRows.withCallers(bench, ledger, 1) { [BenchRow("", ours: try await $0().perSecond)] }
        let many = try await SingleRows.withCallers(bench, ledger, 32) {
            [BenchRow("", ours: try await $0().perSecond)]
        }
        return (one[0].ours ?? 0, many[0].ours ?? 0)
    }

    /// Pages of 10,000 events of our reader, against libpq alone reading the same.
    private static func read(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let (bare, head, store) = (try await ledger.bare(), try await ledger.head(), ledger.store(connections: 1))
        let pages = bench.options.size(20, quick: 3)
        let size: Int64 = min(10_000, head)
        @Sendable func starts(_ isRandom: Bool) -> [Int64] {
            (1...pages).map { isRandom ? Int64.random(in: 0...(head - size)) : max(0, head - size * Int64($0)) }
        }
        var rows: [BenchRow] = []
        for isRandom in [true, false] {
            rows += try await Contest(
                rounds: bench.options.rounds(5), against: "libpq alone, the same windows elsewhere",
                baseline: {
                    let starts = starts(isRandom)
                    return try await Rate.of(pages * Int(size)) {
                        for start in starts { _ = try await bare.read(from: start + 1, to: start + size, window: size) }
                    }
                },
                candidates: [
                    .init(work: isRandom ? "random" : "last") {
                        let starts = starts(isRandom)
                        return try await Rate.of(pages * Int(size)) {
                            for start in starts {
                                let page = try await store.page(EventQuery(after: start, limit: Int(size)))
                                guard page.count == size else { throw BenchFailure("a page of \(page.count) events") }
                            }
                        }
                    }
                ]
            ).run()
        }
        await store.close()
        return rows
    }
}
