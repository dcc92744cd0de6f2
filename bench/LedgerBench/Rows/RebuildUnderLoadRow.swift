import BlockingIO
import EventStore
import LedgerCore
import Postgres
import Projections

/// A rebuild under load: events are appended and folded, and readers count rows without a pause.
enum RebuildUnderLoadRow {
    static let blocked = """
        how long readers wait for the swap: rebuild of batch_jobs, 5,000,000 events, under 1,000 \
        appends/s and two readers
        """

    static func measure(_ bench: Bench) async throws {
        try await bench.part([blocked]) { bench in
            let events = bench.options.size(5_000_000, quick: 50_000)
            let log = try MixedLog(events: events, jobs: events / 10, in: bench.directory)
            let row = try await bench.withLedger { ledger in
                try await ledger.fill(copying: log)
                return try await rebuild(ledger)
            }
            try log.remove()
            return [row]
        }
    }

    private static func rebuild(_ ledger: BenchLedger) async throws -> BenchRow {
        let definition = try ProjectionDefinition.batchJobs
        let (store, head) = (ledger.store(connections: 4), try await ledger.head())
        let projector = Projector(definition, store: store, url: ledger.url, logger: .bench)
        let projecting: @Sendable () async -> Void = { await projector.run() }
        return try await during(projecting) {
            try await until("batch_jobs has come to \(head)", within: .seconds(900)) {
                try await ProjectionState.all(on: ledger.admin).first { $0.name == definition.name }?.position == head
            }
            let (isOver, reads) = (Locked(false), Locked(0))
            let receipt = try await withThrowingTaskGroup(of: Rebuild.Receipt?.self) { group in
                defer { isOver.withLock { $0 = true } }
                group.addTask {
                    try await append(to: store, until: isOver)
                    return nil
                }
                for table in ["batch_jobs", "seen_through_a_view"] {
                    group.addTask {
                        try await read(table, of: ledger, until: isOver, reads)
                        return nil
                    }
                }
                group.addTask {
                    let connection = try await PostgresConnection.connect(
                        EventStore.configuration(url: ledger.url, ledger: ledger.name))
                    let receipt = try await Rebuild(definition, ledger: ledger.name, workers: 2).run(
                        on: connection)
                    await connection.close()
                    isOver.withLock { $0 = true }
                    return receipt
                }
                var receipt: Rebuild.Receipt?
                // The row fails if a reader fails, or sees fewer rows than before.
                for try await result in group { receipt = result ?? receipt }
                return receipt
            }
            await store.close()
            guard let receipt, receipt.digest == receipt.liveDigest else { throw BenchFailure("the digests differ") }
            let seconds = receipt.duration / .seconds(1)
            return BenchRow(
                blocked, ours: receipt.blocked / .milliseconds(1), target: .atMost(100), unit: "ms",
                note: """
                    \(receipt.events) events in \(seconds.rounded(digits: 3)) s with two workers; \
                    \(reads.withLock { $0 }) reads, none failed or went back; the digest is that \
                    of the live table
                    """)
        }
    }

    /// Appends 1,000 events per second to separate jobs.
    private static func append(to store: EventStore, until isOver: Locked<Bool>) async throws {
        var round = 0
        while !isOver.withLock({ $0 }) {
            round += 1
            let requests = (0..<25).map { number in
                AppendRequest(
                    job: "live \(round) \(number)",
                    events: [
                        NewEvent(type: "queued", data: #"{"name":"n","total":9}"#),
                        NewEvent(type: "progress", data: #"{"completed":1}"#),
                    ])
            }
            let start = ContinuousClock.now
            for answer in try await store.append(requests) { _ = try answer.get() }
            try await Task.sleep(for: max(.zero, .milliseconds(50) - start.duration(to: .now)))
        }
    }

    /// Counts rows without a pause. The number must never decrease.
    private static func read(_ table: String, of ledger: BenchLedger, until isOver: Locked<Bool>, _ reads: Locked<Int>)
        async throws
    {
        let connection = try await PostgresConnection.connect(
            EventStore.configuration(url: ledger.url, ledger: ledger.name))
        if table != "batch_jobs" {
            try await connection.execute(script: "CREATE VIEW \(table) AS SELECT id FROM batch_jobs")
        }
        var last: Int64 = 0
        while !isOver.withLock({ $0 }) {
            let count: Int64 = try await connection.query("SELECT count(*) FROM \(table)").only().decode(0)
            guard count >= last else { throw BenchFailure("\(table) went back from \(last) to \(count) rows") }
            last = count
            reads.withLock { $0 += 1 }
        }
        await connection.close()
    }
}
