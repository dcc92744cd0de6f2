import EventStore
import LedgerCore
import Postgres

/// 1,000 events per transaction: the highest rate of the append function.
enum BatchRows {
    static func work(_ jobs: Int) -> String {
        "append, 1,000-event batches over \(jobs == 1000 ? "1,000" : "\(jobs)") active jobs"
    }
    static let twoCallers = "… by two callers at once"
    static let function = "… by the SQL function, arrays made beforehand"
    static let unnest = "… bare INSERT of arrays, the same indexes"
    static let primaryKey = "… raw COPY, primary key only"
    static let noIndex = "… raw COPY, no index"
    static let against = "raw COPY, 1,000 rows a transaction, into the same columns and indexes, no checks"

    /// Appends a batch of 1,000 events, and returns how many were refused.
    private static let appendArrays = """
        SELECT count(code) + 1000 - count(position)
          FROM append($1::text[], $2::text[], $3::text[], event_ids => $4::uuid[])
        """
    private static let insertArrays = """
        INSERT INTO inserted (position, event_id, stream_id, version, type, data, recorded_at)
        SELECT nextval('inserted_position'), e.id, e.job, e.version, 'progress', e.data::json, clock_timestamp()
          FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[]) AS e (id, job, version, data)
        """

    static func measure(_ bench: Bench) async throws {
        try await bench.part([work(100), twoCallers, function, unnest, primaryKey, noIndex]) { bench in
            try await bench.withLedger { try await rows(bench, $0, jobs: 100) }
        }
        try await bench.part([work(1000)]) { bench in
            try await bench.withLedger { try await rows(bench, $0, jobs: 1000) }
        }
    }

    private static func rows(_ bench: Bench, _ ledger: BenchLedger, jobs count: Int) async throws -> [BenchRow] {
        let jobs = ProgressSource.jobs(count)
        try await ledger.queue(jobs)
        let batches = bench.options.size(60, quick: 4)
        let (store, source) = (ledger.store(connections: 2), ProgressSource(jobs: jobs))
        var candidates = [
            Contest.Candidate(
                work: work(count), target: .atLeast(count == 100 ? 0.65 : 0.4),
                note: "every check on, through EventStore"
            ) {
                let requests = await source.next(batches * 1000).map(\.request)
                return try await Rate.of(requests.count) {
                    for answer in try await store.append(requests) { _ = try answer.get() }
                }
            }
        ]
        if count == 100 {
            candidates += [
                twoCallers(ledger, jobs, batches), try await appendFunction(ledger, jobs, batches),
                try await insertOfArrays(ledger, jobs, batches),
                try await copy(ledger, jobs, batches, "copied_by_key", .primaryKey, primaryKey),
                try await copy(ledger, jobs, batches, "copied_alone", .none, noIndex),
            ].filter { bench.options.wants($0.work) }
        }
        let baseline = try await copy(ledger, jobs, batches, "copied", .same, against)
        let rows = try await Contest(
            rounds: bench.options.rounds(7), against: against, baseline: baseline.run, candidates: candidates
        ).run()
        await store.close()
        return rows
    }

    /// Raw COPY of text that was made beforehand.
    static func copy(
        _ ledger: BenchLedger, _ jobs: [JobID], _ batches: Int, _ table: String, _ indexes: BenchLedger.Indexes,
        _ work: String
    ) async throws -> Contest.Candidate {
        try await ledger.makeBareTable(table, indexes: indexes)
        let (bare, source) = (try await ledger.bare(), ProgressSource(jobs: jobs))
        return Contest.Candidate(work: work) {
            let chunks = await source.nextCopied(chunks: batches)
            return try await Rate.of(chunks.count * 1000) {
                try await bare.copy("COPY \(table) (\(BenchEvent.copyColumns)) FROM STDIN") {
                    chunks.indices.contains($0) ? chunks[$0] : nil
                }
            }
        }
    }

    /// One caller's batch is checked while the other's is written.
    private static func twoCallers(_ ledger: BenchLedger, _ jobs: [JobID], _ batches: Int) -> Contest.Candidate {
        let (store, source) = (ledger.store(connections: 2), ProgressSource(jobs: jobs))
        return Contest.Candidate(work: twoCallers) {
            let requests = await source.next(batches * 1000).map(\.request)
            let halves = [requests[..<(requests.count / 2)], requests[(requests.count / 2)...]].map(Array.init)
            return try await Rate.of(requests.count) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for half in halves {
                        group.addTask { for answer in try await store.append(half) { _ = try answer.get() } }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    private static func appendFunction(_ ledger: BenchLedger, _ jobs: [JobID], _ batches: Int) async throws
        -> Contest.Candidate
    {
        // Separate jobs, whose versions no other candidate changes.
        let jobs = jobs.map { JobID("\($0)-by-function") }
        try await ledger.queue(jobs)
        let (bare, source) = (try await ledger.bare(), ProgressSource(jobs: jobs))
        try await bare.prepare("append", appendArrays)
        return Contest.Candidate(work: function) {
            let batches = await arrays(source, batches).map { events in
                [
                    events.map(\.job.text).postgresBytes(), events.map(\.type).postgresBytes(),
                    events.map(\.data).postgresBytes(),
                    events.map(\.id).postgresBytes(),
                ]
            }
            return try await Rate.of(batches.count * 1000) {
                for batch in batches {
                    let refused = try await bare.execute("append", batch)
                    guard refused == 0 else { throw BenchFailure("append refused \(refused) events of a batch") }
                }
            }
        }
    }

    private static func insertOfArrays(_ ledger: BenchLedger, _ jobs: [JobID], _ batches: Int) async throws
        -> Contest.Candidate
    {
        try await ledger.makeBareTable("inserted")
        let (bare, source) = (try await ledger.bare(), ProgressSource(jobs: jobs))
        try await bare.run("CREATE SEQUENCE inserted_position")
        try await bare.prepare("insert", insertArrays)
        return Contest.Candidate(work: unnest) {
            let batches = await arrays(source, batches).map { events in
                [
                    events.map(\.id).postgresBytes(), events.map(\.job.text).postgresBytes(),
                    events.map(\.version).postgresBytes(),
                    events.map(\.data).postgresBytes(),
                ]
            }
            return try await Rate.of(batches.count * 1000) {
                for batch in batches { try await bare.execute("insert", batch) }
            }
        }
    }

    private static func arrays(_ source: ProgressSource, _ batches: Int) async -> [[BenchEvent]] {
        var all: [[BenchEvent]] = []
        for _ in 0..<batches { all.append(await source.next(1000)) }
        return all
    }
}
