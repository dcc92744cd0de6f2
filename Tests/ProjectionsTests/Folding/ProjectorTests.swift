import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

@Suite struct ProjectorTests {
    /// An event that cannot be folded stops its projection right before it, and no other
    /// projection. A corrected definition needs no further command.
    @Test func aPoisonEventStopsItsProjectionOnly() async throws {
        try await TestLedger.with { ledger async throws in
            let poisoned = try ProjectionDefinition.countingEvents(
                and: "SELECT 1 / (data ->> 'message' IS DISTINCT FROM 'poison')::integer FROM new_events")
            let healthy = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.queue("a")
            for count in 1...60 { try await ledger.progress("a", count) }
            let poison = try await ledger.store.append(
                NewEvent(type: "progress", data: #"{"completed":1,"message":"poison"}"#), to: "a")
            for count in 1...30 { try await ledger.progress("a", count) }

            try await ledger.projecting([poisoned, healthy]) {
                let state = try await eventually("stopped") {
                    if let state = try await ledger.state("counts"), state.stopped != nil { state } else { nil }
                }
                #expect(state.stopped?.position == poison.position)
                #expect(state.position == poison.position - 1, "everything before it is folded")
                #expect(state.stopped?.error.contains("division by zero") == true)
                try await ledger.caughtUp("batch_jobs")
            }
            let corrected = try ProjectionDefinition.countingEvents()
            try await ledger.projecting([corrected]) {
                try await ledger.caughtUp("counts")
                #expect(try await ledger.state("counts")?.stopped == nil)
            }
            let connection = try await ledger.connect()
            #expect(try await connection.query("SELECT count FROM counts").only().decode(0, as: Int64.self) == 92)
            await connection.close()
        }
    }

    /// Connections of projectors are killed again and again while they fold. No event is lost or
    /// applied twice.
    @Test func killedConnectionsLoseAndRepeatNothing() async throws {
        try await TestLedger.with { ledger async throws in
            let definitions = try [
                ProjectionDefinition.builtIn("batch_jobs"), .builtIn("batch_job_runs"),
                .countingEvents(),
            ]
            try await ledger.projecting(definitions + definitions, window: 20) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for part in 0..<20 { try await ledger.appendHistory(jobs: 30, events: 200, seed: UInt64(part)) }
                    }
                    group.addTask {
                        let killer = try await ledger.connect()
                        for _ in 0..<40 {
                            try await killer.query(
                                """
                                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                                 WHERE application_name LIKE 'jobledger projector %' || $2 AND query ~ $1
                                """, "MERGE|counts|UPDATE projections", ledger.name.text)
                            try await Task.sleep(for: .milliseconds(30))
                        }
                        await killer.close()
                    }
                    try await group.waitForAll()
                }
                for definition in definitions { try await ledger.caughtUp(definition.name) }
            }
            for definition in definitions {
                let finding = try await ledger.verify(definition)
                #expect(finding.isEqual, "\(definition.name): \(finding.differences.prefix(3))")
            }
            let connection = try await ledger.connect()
            let sum: Int64 = try await connection.query("SELECT sum(count)::bigint FROM counts").only().decode(0)
            let events: Int64 = try await connection.query(
                "SELECT count(*) FROM events WHERE type IN ('queued', 'progress', 'finished')"
            ).only().decode(0)
            #expect(sum == events)
            await connection.close()
        }
    }

    /// Postgres crashes again and again while events are appended and folded.
    @Test func aCrashOfPostgresLosesAndRepeatsNothing() async throws {
        let server = try await PrivatePostgres.start(directory: TestServers.directory("projector-postgres"))
        try await TestLedger.with(url: server.url) { ledger async throws in
            let definitions = try [ProjectionDefinition.builtIn("batch_jobs"), .countingEvents()]
            try await ledger.projecting(definitions, window: 10) {
                for part in 0..<4 {
                    let before = try await ledger.store.head()
                    async let appending: Void = ledger.appendHistory(jobs: 20, events: 300, seed: UInt64(part))
                    if part > 0 {
                        _ = try await eventually("some more events") {
                            try await ledger.store.head() > before ? true : nil
                        }
                        try await server.kill()
                        try await server.restart()
                    }
                    try await appending
                }
                for definition in definitions { try await ledger.caughtUp(definition.name) }
            }
            for definition in definitions {
                let finding = try await ledger.verify(definition)
                #expect(finding.isEqual, "\(definition.name): \(finding.differences.prefix(3))")
            }
            #expect(try await ledger.count() == ledger.store.head())
        }
        try await server.stop()
    }

    /// A projector with an old checkpoint can neither move the checkpoint nor fold anything.
    @Test func aStaleProjectorChangesNothing() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.countingEvents()
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            try await ledger.progress("a", 1)
            let connection = try await ledger.connect()
            let stale = LiveProjection(definition: definition, ledger: ledger.name)
            #expect(try await stale.step(after: 0, upTo: 2, on: connection) == .overtaken)
            #expect(try await connection.query("SELECT count FROM counts").only().decode(0, as: Int64.self) == 1)
            #expect(try await stale.step(after: 1, upTo: 2, on: connection) == .advanced(to: 2))
            #expect(try await connection.query("SELECT count FROM counts").only().decode(0, as: Int64.self) == 2)
            await connection.close()
        }
    }

    /// A live projection finds the rows of a few events by their index. It does not read the whole
    /// table, however large.
    @Test func aFewEventsDoNotReadTheTable() async throws {
        try await TestLedger.with { ledger async throws in
            for name in ["batch_jobs", "batch_job_runs"] {
                let definition = try ProjectionDefinition.builtIn(name)
                if name == "batch_jobs" { try await ledger.appendHistory(jobs: 2000, events: 6000, seed: 13) }
                try await ledger.projecting([definition], window: 10_000) { try await ledger.caughtUp(name) }
                let job = "another \(name)"
                try await ledger.queue(job)
                let run = #"{"completed":1,"runs":[{"run_index":0}]}"#
                let last = try await ledger.store.append(NewEvent(type: "progress", data: run), to: job)
                let connection = try await ledger.connect()
                try await connection.execute(script: "ANALYZE \(name)")
                func read() async throws -> Int64 {
                    try await connection.query("SELECT pg_stat_force_next_flush()")
                    return try await connection.query(
                        "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relid = $1::regclass", name
                    ).only().decode(0)
                }
                let before = try await read()
                let live = LiveProjection(definition: definition, ledger: ledger.name)
                #expect(
                    try await live.step(after: last.position - 2, upTo: last.position, on: connection)
                        == .advanced(to: last.position))
                #expect(try await read() == before, "\(name) was read as a whole")
                await connection.close()
            }
        }
    }

    /// One of two projectors works. When it ends, the other takes over. At no time do both work:
    /// each event is folded once, by the holder of the lease, which changes hands once.
    @Test func anotherTakesOver() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.countingEvents()
            let connection = try await ledger.connect()
            let lease = "projection:counts"
            try await ledger.queue("a")
            let first = ledger.projector(definition, leaseTimes: .kept)
            let second = ledger.projector(definition, leaseTimes: .kept)
            let working = Task { await first.run() }
            try await ledger.caughtUp("counts")
            let before = try #require(try await ledger.holding(of: lease))
            let standing = Task { await second.run() }
            try await ledger.progress("a", 1)
            try await ledger.caughtUp("counts")
            #expect(try await ledger.holding(of: lease) == before)
            working.cancel()
            await working.value
            try await ledger.progress("a", 2)
            try await ledger.caughtUp("counts")
            let after = try #require(try await ledger.holding(of: lease))
            #expect(after.holder != before.holder && after.fence == before.fence + 1)
            #expect(try await connection.query("SELECT count FROM counts").only().decode(0, as: Int64.self) == 3)
            standing.cancel()
            await standing.value
            await connection.close()
        }
    }
}
