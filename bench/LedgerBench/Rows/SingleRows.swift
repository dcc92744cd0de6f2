import EventStore
import Foundation
import LedgerCore
import Postgres

/// One event per call, as services append.
enum SingleRows {
    static func work(_ callers: Int) -> String { "append, one event a call, \(callers) concurrent Swift callers" }
    static func uncheckedGroups(_ size: Int) -> String {
        """
        … groups of \(size) by one libpq connection, a function that locks, numbers and inserts, \
        and checks nothing: the limit
        """
    }
    static let againstInserts = "append, one event a call, the same 32 callers"
    static let sql = "append_event in SQL, one event a call, one connection"
    static let unchecked = "the same by a function that locks, numbers and inserts, and checks nothing: the limit"
    private static let copied = "raw COPY, 1,000 rows a transaction, the same indexes"

    static func measure(_ bench: Bench) async throws {
        for (callers, target) in [(8, 0.09), (32, 0.20), (128, 0.30)] {
            try await bench.part([work(callers), uncheckedGroups(callers)]) { bench in
                try await bench.withLedger { try await againstCopy(bench, $0, callers, target) }
            }
        }
        try await bench.part([againstInserts]) { bench in
            try await bench.withLedger { try await againstInserts(bench, $0) }
        }
        try await bench.part([sql, unchecked]) { bench in try await bench.withLedger { try await bySQL(bench, $0) } }
    }

    private static func againstCopy(
        _ bench: Bench, _ ledger: BenchLedger, _ callers: Int, _ target: Double
    ) async throws -> [BenchRow] {
        let baseline = try await BatchRows.copy(
            ledger, ProgressSource.jobs(100), bench.options.size(60, quick: 4), "copied", .same, copied)
        let limit = try await groups(bench, ledger, of: callers)
        return try await withCallers(bench, ledger, callers) { ours in
            try await Contest(
                rounds: bench.options.rounds(7), against: copied, baseline: baseline.run,
                candidates: [
                    .init(work: work(callers), target: .atLeast(target), run: ours),
                    .init(work: uncheckedGroups(callers), run: limit),
                ]
            ).run()
        }
    }

    /// A group commit without Swift callers, checks, refusals and duplicates.
    private static func groups(_ bench: Bench, _ ledger: BenchLedger, of size: Int) async throws -> Contest.Work {
        let jobs = (0..<size).map { JobID("backtest-in-group-\($0)") }
        try await ledger.queue(jobs)
        try await ledger.admin.execute(script: uncheckedGroupFunction)
        let bare = try await ledger.bare()
        try await bare.prepare("group", "SELECT append_unchecked_group($1, $2, $3)")
        let time = bench.options.time(.seconds(2))
        return {
            let start = ContinuousClock.now
            let calls = try await bare.repeatedly("group", until: start.advanced(by: time)) { number in
                [
                    array(jobs.map(\.text)), array(jobs.indices.map { Filler.progress(number + $0) }),
                    array(jobs.map { _ in EventID.version7() }),
                ]
            }
            return Rate(events: calls * jobs.count, elapsed: start.duration(to: .now))
        }
    }

    private static func array<Element: PostgresEncodable>(_ elements: [Element]) -> [UInt8]? {
        var array = PostgresArray<Element>()
        for element in elements { array.append(element) }
        return array.postgresBytes()
    }

    private static func againstInserts(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let inserts = try await plainInserts(bench, ledger, connections: 32)
        return try await withCallers(bench, ledger, 32) { ours in
            try await Contest(
                rounds: bench.options.rounds(7),
                against: "32 libpq connections, one plain INSERT a transaction, prepared, no order", baseline: inserts,
                candidates: [.init(work: againstInserts, target: .atLeast(1.8), run: ours)]
            ).run()
        }
    }

    /// The rate of `count` connections that append progress one event a call, each for its own job.
    /// - Parameter statement: with the parameters job, data and event id.
    static func sqlCallers(
        _ bench: Bench, _ ledger: BenchLedger, connections count: Int, _ statement: String
    ) async throws -> Contest.Work {
        let run = UInt32.random(in: .min ... .max)
        let jobs = (0..<count).map { JobID("backtest-\(run)-by-sql-\($0)") }
        try await ledger.queue(jobs)
        var connections: [(BareConnection, JobID)] = []
        for job in jobs {
            let bare = try await ledger.bare()
            try await bare.prepare("append", statement)
            connections.append((bare, job))
        }
        let (all, time) = (connections, bench.options.time(.seconds(2)))
        return {
            let start = ContinuousClock.now
            let deadline = start.advanced(by: time)
            let total = try await withThrowingTaskGroup(of: Int.self) { group in
                for (bare, job) in all {
                    group.addTask {
                        try await bare.repeatedly("append", until: deadline) {
                            [
                                job.text.postgresBytes(), Filler.progress($0).postgresBytes(),
                                EventID.version7().postgresBytes(),
                            ]
                        }
                    }
                }
                return try await group.reduce(0, +)
            }
            return Rate(events: total, elapsed: start.duration(to: .now))
        }
    }

    private static func bySQL(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let jobs: [JobID] = ["backtest-by-sql", "backtest-unchecked"]
        try await ledger.queue(jobs)
        try await ledger.admin.execute(script: uncheckedFunction)
        let bare = try await ledger.bare()
        try await bare.prepare("append", "SELECT * FROM append_event($1, 'progress', $2::json, event_id => $3::uuid)")
        try await bare.prepare("unchecked", "SELECT * FROM append_unchecked($1, 'progress', $2::json, $3::uuid)")
        let time = bench.options.time(.seconds(2))
        @Sendable func run(_ statement: String, _ job: JobID) -> Contest.Work {
            {
                let start = ContinuousClock.now
                let count = try await bare.repeatedly(statement, until: start.advanced(by: time)) {
                    [job.text.postgresBytes(), Filler.progress($0).postgresBytes(), EventID.version7().postgresBytes()]
                }
                return Rate(events: count, elapsed: start.duration(to: .now))
            }
        }
        return try await Contest(
            rounds: bench.options.rounds(7),
            against: "one plain INSERT a transaction, prepared, one connection, the same indexes",
            baseline: try await plainInserts(bench, ledger, connections: 1),
            candidates: [
                .init(work: sql, target: .atLeast(0.75), run: run("append", jobs[0])),
                .init(work: unchecked, run: run("unchecked", jobs[1])),
            ]
        ).run()
    }

    /// `append_event` without its checks and without the answer for a duplicate.
    private static let uncheckedFunction = """
        CREATE FUNCTION append_unchecked(job_id text, type text, data json, id uuid) RETURNS appended
        LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET jobledger.appending = 'on' AS $$
        DECLARE
          last   record;
          head   record;
          answer appended;
        BEGIN
          LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
          SELECT e.version, e.total INTO head FROM events AS e
           WHERE e.stream_id = job_id AND e.category = 'job'
           ORDER BY e.version DESC LIMIT 1;
          SELECT e.position, e.recorded_at INTO last FROM events AS e ORDER BY e.position DESC LIMIT 1;
          INSERT INTO events AS e (position, event_id, stream_id, version, type, data, recorded_at, total, completed)
          VALUES (last.position + 1, id, job_id, head.version + 1, type, data,
                  greatest(clock_timestamp(), last.recorded_at), head.total, 0)
          RETURNING e.position, e.version, e.event_id, false INTO answer;
          RETURN answer;
        END $$
        """

    private static let uncheckedGroupFunction = """
        CREATE FUNCTION append_unchecked_group(jobs text[], data text[], ids uuid[]) RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET jobledger.appending = 'on' AS $$
        DECLARE
          last record;
        BEGIN
          LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
          SELECT e.position, e.recorded_at INTO last FROM events AS e ORDER BY e.position DESC LIMIT 1;
          INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at, total, completed)
          SELECT last.position + e.ordinal, e.id, e.job, head.version + 1, 'progress', e.data::json,
                 greatest(clock_timestamp(), last.recorded_at), head.total, 0
            FROM unnest(jobs, data, ids) WITH ORDINALITY AS e (job, data, id, ordinal),
                 LATERAL (SELECT h.version, h.total FROM events AS h
                     WHERE h.stream_id = e.job AND h.category = 'job' ORDER BY h.version DESC LIMIT 1) AS head;
          RETURN last.position;
        END $$
        """

    /// Gives `body` the work of `callers` tasks, which append one event after the other, each to
    /// its own job.
    static func withCallers(
        _ bench: Bench, _ ledger: BenchLedger, _ callers: Int,
        _ body: (@escaping Contest.Work) async throws -> [BenchRow]
    ) async throws -> [BenchRow] {
        // Names jobs of this run only: the ledger may have had callers before.
        let run = UInt32.random(in: .min ... .max)
        let jobs = (0..<callers).map { JobID("backtest-\(run)-of-caller-\($0)") }
        try await ledger.queue(jobs)
        let time = bench.options.time(.seconds(2))
        let store = ledger.store()
        let rows = try await SingleAppend.with(store) { append in
            try await body {
                let start = ContinuousClock.now
                let deadline = start.advanced(by: time)
                let count = try await withThrowingTaskGroup(of: Int.self) { group in
                    for job in jobs {
                        group.addTask {
                            var count = 0
                            while ContinuousClock.now < deadline {
                                try Task.checkCancellation()
                                let event = NewEvent(type: "progress", data: Filler.progress(count))
                                _ = try await append(AppendRequest(job: job, events: [event]))
                                count += 1
                            }
                            return count
                        }
                    }
                    return try await group.reduce(0, +)
                }
                return Rate(events: count, elapsed: start.duration(to: .now))
            }
        }
        await store.close()
        return rows
    }

    private static let plainInsert = """
        INSERT INTO inserted (position, event_id, stream_id, version, type, data, recorded_at)
        VALUES (nextval('inserted_position'), $1::uuid, $2::text, $3::int, 'progress',
                $4::json, clock_timestamp())
        """

    /// The rate of a plain table: `count` connections, one INSERT per transaction each.
    static func plainInserts(_ bench: Bench, _ ledger: BenchLedger, connections count: Int) async throws -> Contest.Work
    {
        try await ledger.makeBareTable("inserted")
        try await ledger.admin.execute(script: "CREATE SEQUENCE inserted_position")
        var connections: [BareConnection] = []
        for _ in 0..<count {
            let bare = try await ledger.bare()
            try await bare.prepare("insert", plainInsert)
            connections.append(bare)
        }
        let (all, time) = (connections, bench.options.time(.seconds(2)))
        return {
            // Every round uses new jobs, so that each connection can count its versions.
            let round = UInt32.random(in: .min ... .max)
            let start = ContinuousClock.now
            let deadline = start.advanced(by: time)
            let total = try await withThrowingTaskGroup(of: Int.self) { group in
                for (number, bare) in all.enumerated() {
                    let job = "backtest-\(round)-\(number)"
                    group.addTask {
                        try await bare.repeatedly("insert", until: deadline) {
                            [
                                EventID.version7().postgresBytes(), job.postgresBytes(), Int32($0 + 1).postgresBytes(),
                                Filler.progress($0).postgresBytes(),
                            ]
                        }
                    }
                }
                return try await group.reduce(0, +)
            }
            return Rate(events: total, elapsed: start.duration(to: .now))
        }
    }
}
