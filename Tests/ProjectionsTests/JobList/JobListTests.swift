import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import Projections

@Suite struct JobListTests {
    private static let isLong = ProcessInfo.processInfo.environment["JOBLEDGER_SOAK"] == "1"

    private static func definitions() throws -> [ProjectionDefinition] {
        [try .builtIn("job_list"), try .builtIn("job_counts")]
    }

    /// Folds the log into both read models, in windows of a random size.
    private static func fold(_ ledger: TestLedger, window: Int = 100) async throws {
        let definitions = try definitions()
        try await ledger.projecting(definitions, window: window) {
            for definition in definitions { try await ledger.caughtUp(definition.name) }
        }
    }

    /// Random queries at random positions give what a second implementation gives, and each row is
    /// what `batch_jobs` was then.
    @Test func pagesAtAnyMoment() async throws {
        let seed = UInt64.random(in: 0...9999)
        print("job list: seed \(seed)")
        var random = SeededGenerator(seed: seed)
        try await TestLedger.with { ledger async throws in
            let list = try await RandomList.append(
                Self.isLong ? 300 : 60, mostEvents: 110, to: ledger, seed: seed)
            try await Self.fold(ledger, window: 1 + Int(random.below(300)))
            let model = try StreamReadModel(.builtIn("batch_jobs"), of: .job, store: ledger.store)
            for trial in 0..<(Self.isLong ? 3000 : 250) {
                var query = Self.query(&random)
                let isNow = random.below(4) == 0
                let position = isNow ? list.head : Position(random.below(UInt64(list.head) + 1))
                query.moment = isNow ? nil : .position(position)
                query.mostCollected = [0, 5, 4000][Int(random.below(3))]
                query.recentEvents = [1, 50, 10_000][Int(random.below(3))]
                let expected = list.rows(query, at: position)
                let name: Comment = "seed \(seed), trial \(trial): \(query)"
                if random.below(2) == 0 { query.skipped = Int(random.below(UInt64(expected.count + 3))) }
                let page = try await JobList(ledger.store).page(query)
                let rest = expected.dropFirst(query.skipped)
                #expect(page.position == position, name)
                try #require(page.rows.map(\.id) == rest.prefix(query.limit).map(\.id), name)
                #expect(page.hasMore == (rest.count > query.limit), name)
                for (row, expected) in zip(page.rows, rest) { Self.compare(row, expected, name) }
                if trial.isMultiple(of: 10), let row = page.rows.last {
                    let then = try #require(try await model.row(row.id, at: position), name)
                    try Self.expect(row.json, isPartOf: then, name)
                }
            }
        }
    }

    private static func query(_ random: inout SeededGenerator) -> JobListQuery {
        func below(_ limit: Int) -> Int { Int(random.below(UInt64(limit))) }
        var query = JobListQuery(
            sort: JobListQuery.Sort.allCases[below(6)], order: [nil, .ascending, .descending][below(3)],
            limit: 1 + below(20))
        // Most queries have few conditions, so that there is something to sort.
        func sometimes() -> Bool { below(6) == 0 }
        while below(3) == 0 { query.statuses.insert(JobListQuery.Status.allCases[below(4)]) }
        if sometimes() { query.kind = ["server", "local"][below(2)] }
        if sometimes() { query.actor = ExactText("actor \(below(4))") }
        if sometimes() { query.text = ["JOB 1", "alpha", "a", "broken", "%_", "Ö", "ö", "nothing"][below(8)] }
        if sometimes() { query.since = Timestamp(microseconds: Int64(1_700_000_000 + below(5000)) * 1_000_000) }
        if sometimes() { query.until = Timestamp(microseconds: Int64(1_700_000_000 + below(5000)) * 1_000_000) }
        if sometimes() { query.isTruncated = below(2) == 0 }
        if sometimes() {
            query.variables = [.init(name: "ticker", value: [nil, "T\(below(5))", "\(below(5))"][below(3)])]
        }
        if sometimes() {
            query.metadata = [below(2) == 0 ? .init(key: "team", value: "t1") : .init(key: "size", value: "2")]
        }
        return query
    }

    private static func compare(_ row: JobListRow, _ expected: RandomList.Row, _ name: Comment) {
        func time(_ second: Int?) -> Timestamp? { second.map { Timestamp(microseconds: Int64($0) * 1_000_000) } }
        let job = expected.job
        #expect(row.name == job.name && row.kind == job.kind && row.actor == job.actor, name)
        #expect(row.status == expected.status && row.error == expected.error, name)
        #expect(row.total == expected.total && row.completed == expected.completed, name)
        #expect(row.createdAt == time(job.events[0].second) && row.updatedAt == time(expected.updated), name)
        #expect(row.startedAt == time(expected.started?.second), name)
        #expect(row.completedAt == time(expected.ended?.second), name)
        #expect(row.isTruncated == (expected.truncated != nil), name)
        #expect(row.queuedPosition == job.events[0].position, name)
        #expect(row.lastPosition == expected.last.position && row.lastVersion == expected.last.version, name)
    }

    /// Each member that both have is equal: a list has more of some, and leaves out what is large.
    private static func expect(_ listed: String, isPartOf whole: String, _ name: Comment) throws {
        func members(_ json: String) throws -> [ExactText: [UInt8]] {
            Dictionary(uniqueKeysWithValues: try JSONText.members(of: json).map { ($0.name, $0.value) })
        }
        let (listed, whole) = (try members(listed), try members(whole))
        let large: Set<ExactText> = ["variables", "strategy", "assignments_preview", "results"]
        for (member, value) in whole where !large.contains(member) {
            let shown = listed[member].map { String(decoding: $0, as: UTF8.self) }
            #expect(shown == String(decoding: value, as: UTF8.self), "\(name): \(member)")
        }
    }

    /// Page after page, by the last job of each, every job comes once and in order, while jobs go
    /// on.
    @Test(arguments: JobListQuery.Sort.allCases) func pagesGoOnBehindAJob(sort: JobListQuery.Sort) async throws {
        let seed = UInt64.random(in: 0...9999)
        try await TestLedger.with { ledger async throws in
            let list = try await RandomList.append(40, mostEvents: 40, to: ledger, seed: seed)
            try await Self.fold(ledger)
            for order in JobListQuery.Order.allCases {
                for position in [list.head, list.head / 2] {
                    var query = JobListQuery(sort: sort, order: order, limit: 7)
                    query.recentEvents = 40
                    query.moment = .position(position)
                    var ids: [JobID] = []
                    while true {
                        let page = try await JobList(ledger.store).page(query)
                        ids += page.rows.map(\.id)
                        guard page.hasMore else { break }
                        query.after = page.rows.last?.id
                    }
                    #expect(
                        ids == list.rows(query, at: position).map(\.id),
                        "seed \(seed), by \(sort) \(order) at \(position)")
                }
            }
            var query = JobListQuery(sort: sort)
            query.after = "nobody"
            await #expect(throws: JobList.UnknownJob.self) { try await JobList(ledger.store).page(query) }
            // It was not queued yet.
            query.after = list.jobs.first { $0.value.events[0].position > 1 }?.key
            query.moment = .position(1)
            await #expect(throws: JobList.UnknownJob.self) { try await JobList(ledger.store).page(query) }
        }
    }

    /// The counts at every position are those of counting the jobs.
    @Test func countsAtEveryPosition() async throws {
        let seed = UInt64.random(in: 0...9999)
        try await TestLedger.with { ledger async throws in
            let list = try await RandomList.append(25, mostEvents: 12, to: ledger, seed: seed)
            try await Self.fold(ledger, window: 1 + Int(seed % 40))
            let lists = JobList(ledger.store)
            for position in 0...list.head {
                let rows = list.rows(JobListQuery(), at: position)
                func count(_ status: JobListQuery.Status) -> Int64 { Int64(rows.count { $0.status == status }) }
                let expected = JobCounts(
                    position: position, queued: count(.queued), running: count(.running), finished: count(.finished),
                    failed: count(.failed))
                #expect(try await lists.counts(at: .position(position)) == expected, "seed \(seed)")
                if position == list.head { #expect(try await lists.counts() == expected, "seed \(seed)") }
            }
        }
    }

    /// Both read models are the same after a rebuild.
    @Test(arguments: ["job_list", "job_counts"]) func isTheSameAfterARebuild(_ name: String) async throws {
        let seed = UInt64.random(in: 0...9999)
        try await TestLedger.with { ledger async throws in
            _ = try await RandomList.append(60, mostEvents: 80, to: ledger, seed: seed)
            try await Self.fold(ledger, window: 7)
            let finding = try await ledger.verify(.builtIn(name))
            #expect(finding.isEqual, "seed \(seed): \(finding)")
        }
    }

    /// A moment that the read model has not reached is answered as of the one that it has.
    @Test func aMomentAhead() async throws {
        try await TestLedger.with { ledger async throws in
            await #expect(throws: JobList.NotProjected.self) { try await JobList(ledger.store).page(JobListQuery()) }
            await #expect(throws: JobList.NotProjected.self) { try await JobList(ledger.store).counts() }
            try await ledger.queue("a", total: 4)
            try await Self.fold(ledger)
            try await ledger.progress("a", 3)
            for moment in [nil, LogMoment.position(1), .position(2), .position(99)] {
                var query = JobListQuery()
                query.moment = moment
                let page = try await JobList(ledger.store).page(query)
                #expect(page.position == 1 && page.rows.map(\.status) == [.queued], "\(page)")
                let counts = try await JobList(ledger.store).counts(at: moment)
                #expect(counts == JobCounts(position: 1, queued: 1), "\(counts)")
            }
        }
    }

    /// The past of a job costs the same, however many events it has.
    @Test func thePastOfAJobWithManyEvents() async throws {
        try await TestLedger.with { ledger async throws in
            let events =
                [NewEvent(type: "queued", data: #"{"name":"n","total":9000}"#)]
                + (1...9000).map { NewEvent(type: "progress", data: #"{"completed":\#($0)}"#) }
            for first in stride(from: 0, to: events.count, by: 1000) {
                let part = Array(events[first..<min(first + 1000, events.count)])
                let request = AppendRequest(job: "a", events: part)
                _ = try await ledger.store.append([request], timeout: .seconds(60))[0].get()
            }
            try await Self.fold(ledger, window: 5000)
            try await ledger.store.pool.withConnection { connection in
                try await connection.execute(
                    script: "ALTER TABLE events SET (autovacuum_enabled = off, toast.autovacuum_enabled = off)")
                try await connection.execute(script: "VACUUM ANALYZE events")
            }
            func blocks() async throws -> Int64 {
                try await ledger.store.pool.withConnection { try await FoldCostTests.blocks(of: "events", on: $0) }
            }
            for position: Position in [2, 31, 32, 33, 4500, 8999] {
                let before = try await blocks()
                var query = JobListQuery()
                query.moment = .position(position)
                let page = try await JobList(ledger.store).page(query)
                #expect(page.rows.first?.completed == Int(position) - 1, "\(page)")
                let blocks = try await blocks() - before
                #expect(blocks < 150, "at \(position): \(blocks) blocks")
            }
        }
    }

    /// Texts that mean something to SQL, JSON or patterns are texts.
    @Test func hostileTexts() async throws {
        let names = [
            "'; DROP TABLE job_list; --", #"quote " and \ backslash"#, "100%", "a_b", "<script>alert(1)</script>", "é",
            "e\u{301}", "acb",
        ]
        try await TestLedger.with { ledger async throws in
            for (number, name) in names.enumerated() {
                var json: [UInt8] = []
                json.appendJSON(string: name)
                let text = String(decoding: json, as: UTF8.self)
                let data = #"{"name":\#(text),"variables":[{"name":\#(text),"values":[\#(text)]}]}"#
                _ = try await ledger.store.append(
                    NewEvent(type: "queued", data: data, metadata: #"{"actor":\#(text),\#(text):\#(text)}"#),
                    to: JobID("job \(number)"))
            }
            try await Self.fold(ledger)
            let long = String(repeating: "x", count: 30_000)
            for (number, name) in names.enumerated() {
                for change: (inout JobListQuery) -> Void in [
                    { $0.text = name }, { $0.actor = ExactText(name) }, { $0.variables = [.init(name: name)] },
                    { $0.variables = [.init(name: name, value: name)] },
                    { $0.metadata = [.init(key: name, value: name)] },
                ] {
                    var query = JobListQuery()
                    change(&query)
                    let found = try await JobList(ledger.store).page(query).rows.map(\.id)
                    #expect(found == [JobID("job \(number)")], "\(name): \(query)")
                }
            }
            for change: (inout JobListQuery) -> Void in [
                { $0.text = long }, { $0.actor = ExactText(long) },
                { $0.variables = [.init(name: "é", value: "1e9999")] },
                { $0.variables = [.init(name: "é", value: "1e99999")] },
                { $0.metadata = [.init(key: long, value: "-0.0e-9999")] },
            ] {
                var query = JobListQuery()
                change(&query)
                #expect(try await JobList(ledger.store).page(query).rows.isEmpty)
            }
        }
    }
}
