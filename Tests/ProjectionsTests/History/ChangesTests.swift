import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

@Suite struct ChangesTests {
    /// Between random positions, exactly the jobs whose rows differ are reported, each with the
    /// columns that differ and its events in between.
    @Test func whatChangedBetweenTwoPositions() async throws {
        let seed = UInt64.random(in: 0...9999)
        try await TestLedger.with { ledger async throws in
            // More than are folded together.
            let jobs = try await RandomJobs.append(1100, mostEvents: 6, to: ledger, seed: seed)
            let connection = try await ledger.connect()
            var random = SeededGenerator(seed: seed)
            var stretches: [(Position, Position)] = [(0, jobs.head), (jobs.head, jobs.head)]
            for _ in 0..<4 {
                let from = Int64(random.below(UInt64(jobs.head)))
                stretches.append((from, from + Int64(random.below(UInt64(jobs.head - from)))))
            }
            for (from, to) in stretches {
                var told: [JobID: Changes.Change] = [:]
                let count = try await Changes(try .builtIn("batch_jobs"), ledger: ledger.name)
                    .run(from: from, to: to, on: connection) { told[$0.stream] = $0 }
                #expect(Int(count) == told.count)
                for (job, history) in jobs.histories {
                    let (before, after) = (jobs.row(job, at: from), jobs.row(job, at: to))
                    guard before != after else {
                        #expect(told[job] == nil, "seed \(seed): \(job) did not change from \(from) to \(to)")
                        continue
                    }
                    let change = try #require(told[job], "seed \(seed): \(job) changed from \(from) to \(to)")
                    #expect(change.isNew == (before == nil))
                    let names = Set(try JSONText.members(of: change.columns).map(\.name.text))
                    let expected = zip(ExpectedJob.columns, zip(before?.values ?? [], after!.values)).filter {
                        $1.0 != $1.1
                    }.map(
                        \.0)
                    if before != nil { #expect(names == Set(expected), "seed \(seed): \(job) from \(from) to \(to)") }
                    let positions = try JSONText.elements(of: Array(change.events.utf8)[...]).map { event in
                        Int64(String(decoding: try JSONText.members(of: Array(event))[0].value, as: UTF8.self))
                    }
                    #expect(positions == history.map(\.position).filter { $0 > from && $0 <= to })
                    #expect(change.eventCount == positions.count)
                }
            }
            await connection.close()
        }
    }

    /// A single job, with every digit of its values.
    @Test func ofOneJob() async throws {
        try await TestLedger.with { ledger async throws in
            for job in ["a", "b"] {
                _ = try await ledger.store.append(
                    NewEvent(
                        type: "queued", data: #"{"name":"x","total":3,"strategy":{"e":1.10}}"#,
                        metadata: #"{"actor":"ada"}"#),
                    to: job)
                try await ledger.progress(job, 2)
            }
            let connection = try await ledger.connect()
            let changes = Changes(try .builtIn("batch_jobs"), ledger: ledger.name)
            var told: [Changes.Change] = []
            try await changes.run(from: 0, to: 4, stream: "b", on: connection) { told.append($0) }
            #expect(told.map(\.stream) == ["b"] && told[0].isNew)
            #expect(
                told[0].columns.contains(#""strategy" : {"from" : null, "to" : {"e": 1.10}}"#), "\(told[0].columns)")
            #expect(told[0].events.contains(#""actor" : "ada""#))
            told = []
            try await changes.run(from: 3, to: 4, stream: "b", on: connection) { told.append($0) }
            #expect(told[0].columns.contains(#""completed" : {"from" : 0, "to" : 2}"#), "\(told[0].columns)")
            // No temporary table is left in the session.
            #expect(
                try await connection.query("SELECT to_regclass('pg_temp.chosen') IS NULL").only().decode(
                    0, as: Bool.self))
            await connection.close()
        }
    }
}

@Suite struct BlameTests {
    /// Each column's event is the last one that changed the value, by the README's rules.
    @Test func everyColumnOfSomeJobs() async throws {
        let seed = UInt64.random(in: 0...9999)
        try await TestLedger.with { ledger async throws in
            let jobs = try await RandomJobs.append(40, mostEvents: 12, to: ledger, seed: seed)
            for (job, history) in jobs.histories.sorted(by: { $0.key < $1.key }).prefix(15) {
                let connection = try await ledger.connect()
                let at = history[history.count / 2].position
                let columns = try #require(
                    try await Blame(try .builtIn("batch_jobs"), ledger: ledger.name).run(job, at: at, on: connection))
                #expect(columns.count == 17 && columns[0].name == "id")
                let past = history.filter { $0.position <= at }
                for (index, name) in ExpectedJob.columns.enumerated() {
                    var position: Position?
                    var last: String?
                    for (place, row) in past where row.values[index] != last {
                        (position, last) = (place, row.values[index])
                    }
                    let column = try #require(columns.first { $0.name == name })
                    #expect(column.event?.position == position, "seed \(seed): \(name) of \(job) at \(at)")
                }
                await connection.close()
            }
            let connection = try await ledger.connect()
            #expect(
                try await Blame(try .builtIn("batch_jobs"), ledger: ledger.name).run("none", at: 99, on: connection)
                    == nil)
            await connection.close()
        }
    }

    /// Thousands of events are folded in batches.
    @Test func aLongHistory() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("long", total: 5000)
            let events = (1...4500).map {
                NewEvent(type: "progress", data: #"{"completed":\#($0 <= 4321 ? $0 : 4321)}"#)
            }
            _ = try await ledger.store.append(
                events.map { AppendRequest(job: "long", events: [$0]) }, timeout: .seconds(60))
            let connection = try await ledger.connect()
            var folded: [Int64] = []
            let columns = try await Blame(try .builtIn("batch_jobs"), ledger: ledger.name)
                .run("long", at: 9999, on: connection) { folded.append($0) }
            #expect(folded == [2000, 4000, 4501])
            let completed = try #require(columns?.first { $0.name == "completed" })
            #expect(
                completed.value == "4321" && completed.event?.version == 4322 && completed.event?.type == "progress")
            #expect(columns?.first { $0.name == "status" }?.event?.version == 2)
            #expect(columns?.first { $0.name == "error" }?.event == nil)
            await connection.close()
        }
    }
}

@Suite struct AsOfTablesTests {
    /// A whole read model as of a position has the digest that the projection had there. Existing
    /// tables are not touched.
    @Test(arguments: ["batch_jobs", "batch_job_runs"])
    func aWholeReadModel(projection: String) async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn(projection)
            try await ledger.appendHistory(jobs: 20, events: 200, seed: 7)
            let then = try await ledger.store.head()
            let receipt = try await ledger.rebuild(definition)
            try await ledger.appendHistory(jobs: 20, events: 200, seed: 8)

            let schema = LedgerName("\(ledger.name)_past")!
            let connection = try await ledger.connect()
            let tables = AsOfTables(definition, ledger: ledger.name, window: 50)
            let past = try await tables.run(until: then, into: schema, on: connection)
            #expect(past.digest == receipt.digest && past.rows == receipt.rows && past.position == then)
            let rows = try await connection.query("SELECT count(*) FROM \"\(schema)\".\(projection)").only().decode(
                0, as: Int64.self)
            #expect(rows == past.rows)
            let readable = try await connection.query(
                "SELECT has_table_privilege($1, $2, 'SELECT')", "\(ledger.name)_reader", "\(schema).\(projection)")
            #expect(try readable.only().decode(0))
            for taken in [schema, ledger.name] {
                await #expect(throws: AsOfTables.Taken.self) {
                    try await tables.run(until: 1, into: taken, on: connection)
                }
            }
            try await connection.execute(script: "DROP SCHEMA \"\(schema)\" CASCADE")
            await connection.close()
        }
    }
}
