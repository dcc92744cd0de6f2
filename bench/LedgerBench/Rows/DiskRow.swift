import EventStore
import LedgerCore
import Postgres

/// The disk space of a progress event, with its share of all indexes.
enum DiskRow {
    static let work = "disk a progress event, indexes included"

    /// By event: the bytes on disk, of its column values, and of its indexes.
    private static let sizes = """
        SELECT pg_total_relation_size('events')::float8 / count(*),
               avg(8 + 16 + octet_length(category) + octet_length(stream_id) + 4 + octet_length(type)
                   + octet_length(data::text) + octet_length(metadata::text)
                   + CASE WHEN occurred_at IS NULL THEN 0 ELSE 8 END + 8 + 4)::float8,
               pg_indexes_size('events')::float8 / count(*)
          FROM events
        """

    static func measure(_ bench: Bench) async throws {
        try await bench.part([work]) { bench in
            try await bench.withLedger { ledger in
                let jobs = ProgressSource.jobs(1000)
                try await ledger.queue(jobs)
                let (store, source) = (ledger.store(connections: 1), ProgressSource(jobs: jobs))
                for _ in 0..<bench.options.size(20, quick: 2) {
                    for answer in try await store.append(await source.next(10_000).map(\.request)) {
                        _ = try answer.get()
                    }
                }
                await store.close()
                let row = try await ledger.admin.query(sizes).only()
                let (disk, own, indexes): (Double, Double, Double) = (
                    try row.decode(0), try row.decode(1), try row.decode(2)
                )
                return [
                    BenchRow(
                        work, ours: disk, baseline: own, ratio: disk / own, target: .atMost(2.2), unit: "bytes",
                        against: "the bytes of its column values",
                        note: "\(Int(indexes)) bytes of it indexes; 1,000 jobs interleaved, as appended")
                ]
            }
        }
    }
}
