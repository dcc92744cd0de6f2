import BlockingIO
import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Projections
import Testing

/// Set by `make soak`, which takes long.
private let isSoak = ProcessInfo.processInfo.environment["JOBLEDGER_SOAK"] != nil

/// Rebuilds of a ledger in use, and what they prove.
@Suite struct ReplayTests {
    /// Appends random histories until the log has `events` events.
    private static func fill(_ ledger: TestLedger, events: Int, seed: UInt64) async throws {
        var part: UInt64 = 0
        while try await ledger.store.head() < Int64(events) {
            part += 1
            try await ledger.appendHistory(jobs: 500, events: 10_000, seed: seed &+ part)
        }
    }

    /// 50,000 events, or 5 million in the soak, are rebuilt under live appends and readers. No read
    /// fails or sees fewer rows than before, the digest is that of the live tables at the same
    /// position, and readers wait for less than 100 ms.
    @Test func underLiveAppendsAndReaders() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("rebuild under load: seed \(seed)")
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await Self.fill(ledger, events: isSoak ? 5_000_000 : 50_000, seed: seed)
            try await ledger.projecting([definition], window: 20_000) {
                _ = try await eventually(within: .seconds(600), "projected") {
                    try await ledger.state("batch_jobs")?.position ?? 0 >= ledger.store.head() ? true : nil
                }
                let isOver = Locked(false)
                let counts = Locked([Int64]())
                try await withThrowingTaskGroup(of: Void.self) { group in
                    // 1,000 events per second: 50 jobs every 50 ms.
                    group.addTask {
                        var round = 0
                        while !isOver.withLock({ $0 }) {
                            round += 1
                            let requests = (0..<50).map {
                                AppendRequest(
                                    job: "live \(round) \($0)",
                                    events: [NewEvent(type: "queued", data: #"{"name":"n"}"#)])
                            }
                            for answer in try await ledger.store.append(requests) { _ = try answer.get() }
                            try await Task.sleep(for: .milliseconds(50))
                        }
                    }
                    for table in ["batch_jobs", "seen_through_a_view"] {
                        let reader = try await ledger.connect()
                        if table != "batch_jobs" {
                            try await reader.execute(script: "CREATE VIEW \(table) AS SELECT id FROM batch_jobs")
                        }
                        group.addTask {
                            var last: Int64 = 0
                            while !isOver.withLock({ $0 }) {
                                let count: Int64 = try await reader.query("SELECT count(*) FROM \(table)").only()
                                    .decode(0)
                                #expect(count >= last, "\(table) went back from \(last) to \(count) rows")
                                last = count
                                counts.withLock { $0.append(count) }
                            }
                            await reader.close()
                        }
                    }
                    defer { isOver.withLock { $0 = true } }
                    for workers in [1, 2] {
                        let connection = try await ledger.connect()
                        let receipt = try await Rebuild(
                            definition, ledger: ledger.name, window: 10_000, workers: workers
                        ).run(on: connection)
                        #expect(receipt.liveDigest == receipt.digest, "compared with the live tables, and equal")
                        // The bench holds the swap to 100 ms. A busy machine takes longer for all.
                        #expect(receipt.blocked < receipt.duration / 2, "readers waited for \(receipt.blocked)")
                        print("rebuild under load: \(receipt.events) events in \(receipt.duration),", terminator: " ")
                        print("readers waited \(receipt.blocked)")
                        await connection.close()
                    }
                    isOver.withLock { $0 = true }
                    try await group.waitForAll()
                }
                #expect(counts.withLock { $0.count } > 20 && counts.withLock { $0.allSatisfy { $0 > 0 } })
                try await ledger.caughtUp("batch_jobs")
            }
            #expect(try await ledger.verify(definition).isEqual)
        }
    }

    /// Any number of slices and workers makes the same tables. A projection whose key is the log is
    /// not divided.
    @Test func theDigestDoesNotDependOnWorkers() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.appendHistory(jobs: 60, events: 2000, seed: 11)
            for name in ["batch_jobs", "batch_job_runs"] {
                let definition = try ProjectionDefinition.builtIn(name)
                let one = try await ledger.rebuild(definition)
                for (workers, window) in [(2, 100), (3, 37), (8, 10_000)] {
                    let connection = try await ledger.connect()
                    let (most, lock) = (Locked(Int64(0)), try await ledger.connect())
                    let receipt = try await Rebuild(definition, ledger: ledger.name, window: window, workers: workers)
                        .run(on: connection) { _, _ in
                            let slices: Int64 = try await lock.query("SELECT count(*) FROM rebuild_slices").only()
                                .decode(0)
                            most.withLock { $0 = max($0, slices) }
                        }
                    #expect(receipt.digest == one.digest && receipt.rows == one.rows)
                    #expect(most.withLock { $0 } == (name == "batch_jobs" ? Int64(workers) : 1))
                    await connection.close()
                    await lock.close()
                }
            }
        }
    }

    /// The digest is the same after a crash and restart of Postgres, and in another database after
    /// a dump and restore.
    @Test func theDigestOutlivesARestartAndADump() async throws {
        let server = try await PrivatePostgres.start(directory: TestServers.directory("digest-postgres"))
        try await TestLedger.with(url: server.url) { ledger async throws in
            let definitions = try [ProjectionDefinition.builtIn("batch_jobs"), .builtIn("batch_job_runs")]
            try await ledger.appendHistory(jobs: 40, events: 1000, seed: 5)
            var digests: [String] = []
            for definition in definitions { digests.append(try await ledger.rebuild(definition).digest) }
            try await server.kill()
            try await server.restart()
            for (definition, digest) in zip(definitions, digests) {
                let connection = try await ledger.connect()
                #expect(
                    try await Verification(definition, ledger: ledger.name).run(on: connection).liveDigest == digest)
                #expect(
                    try await Rebuild(definition, ledger: ledger.name, workers: 2).run(on: connection).digest == digest)
                await connection.close()
            }

            let dump = TestServers.directory("dump").path
            try await Self.shell([
                "pg_dump", "--format=custom", "--schema=\(ledger.name)", "--file=\(dump)", server.url,
            ])
            let admin = try await ledger.connect()
            try await admin.execute(script: "CREATE DATABASE restored")
            await admin.close()
            let url = server.url.replacing("/jobledger?", with: "/restored?").replacing(
                /\/jobledger$/, with: "/restored")
            try #require(url != server.url)
            try await Self.shell(["pg_restore", "--dbname=\(url)", dump])
            for (definition, digest) in zip(definitions, digests) {
                let connection = try await PostgresConnection.connect(
                    EventStore.configuration(url: url, ledger: ledger.name), timeout: .seconds(10))
                let finding = try await Verification(definition, ledger: ledger.name).run(on: connection)
                #expect(finding.isEqual && finding.liveDigest == digest, "after the restore")
                #expect(try await Rebuild(definition, ledger: ledger.name).run(on: connection).digest == digest)
                await connection.close()
            }
        }
        try await server.stop()
    }

    private static func shell(_ command: [String]) async throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = command
        try await withCheckedThrowingContinuation { (ended: CheckedContinuation<Void, any Error>) in
            process.terminationHandler = { _ in ended.resume() }
            do { try process.run() } catch { ended.resume(throwing: error) }
        }
        #expect(process.terminationStatus == 0, "\(command)")
    }

    /// A rebuild pauses while a live projection is further behind than the limit.
    @Test(.timeLimit(.minutes(10))) func pausesForLiveProjections() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.appendHistory(jobs: 20, events: 500, seed: 7)
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            // Another projection: its lease is held, but it does not move.
            let owner = try await ledger.connect()
            try await owner.execute(
                script: """
                    INSERT INTO projections (name, definition, position) VALUES ('slow', 'x', 10);
                    SELECT take_lease('projection:slow', 'somebody', '1 hour')
                    """)
            let (lags, lagging) = AsyncStream<Int64>.makeStream()
            let moved = Locked(0)
            let rebuild = Rebuild(definition, ledger: ledger.name, window: 100, maxLag: 50) { phase in
                if case .yielding(let lag) = phase { lagging.yield(lag) }
            }
            let connection = try await ledger.connect()
            let done = Task { try await rebuild.run(on: connection) { _, _ in moved.withLock { $0 += 1 } } }
            var seen = 0
            for await lag in lags {
                #expect(lag > 50 && moved.withLock { $0 } == 0)
                seen += 1
                if seen == 3 { break }
            }
            try await owner.execute(script: "UPDATE projections SET position = head() - 50 WHERE name = 'slow'")
            let receipt = try await done.value
            #expect(receipt.liveDigest == receipt.digest && moved.withLock { $0 } > 0)
            await connection.close()
            await owner.close()
        }
    }

    /// A plan says how much a rebuild would fold, how long that would take, and what prevents it.
    /// Making the plan leaves nothing behind.
    @Test func plansARebuild() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            let owner = try await ledger.connect()
            let empty = try await RebuildPlan.make(definition, ledger: ledger.name, workers: 2, on: owner)
            #expect(empty.events == 0 && empty.rate == nil && empty.isSameDefinition == nil && empty.obstacles.isEmpty)
            try await ledger.appendHistory(jobs: 20, events: 500, seed: 7)
            let head = try await ledger.store.head()
            let plan = try await RebuildPlan.make(definition, ledger: ledger.name, workers: 2, on: owner)
            #expect(plan.events == head && plan.head == head && plan.workers == 2 && plan.resumes == nil)
            #expect(plan.rate ?? 0 > 0 && plan.rateOf.contains("sample") && (plan.seconds ?? 0) > 0)
            #expect(try await ledger.schemasBeside().isEmpty)

            // An unfinished rebuild: the plan counts what is left.
            await #expect(throws: CancellationError.self) {
                _ = try await Rebuild(definition, ledger: ledger.name, window: 100).run(on: owner) { position, _ in
                    if position >= 200 { throw CancellationError() }
                }
            }
            let rest = try await RebuildPlan.make(definition, ledger: ledger.name, workers: 2, on: owner)
            #expect(rest.events == head - 200 && rest.resumes?.position == 200 && rest.resumes?.isActive == false)
            #expect(try await Rebuild.cancel("batch_jobs", ledger: ledger.name, on: owner))
            #expect(try await !Rebuild.cancel("batch_jobs", ledger: ledger.name, on: owner))
            #expect(try await ledger.schemasBeside().isEmpty)
            await owner.close()
        }
    }

    /// A rebuild drops schemas without a record. A record without its schema begins anew.
    @Test func dropsLeftovers() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.appendHistory(jobs: 20, events: 300, seed: 7)
            let owner = try await ledger.connect()
            await #expect(throws: CancellationError.self) {
                _ = try await Rebuild(definition, ledger: ledger.name, window: 100).run(on: owner) { _, _ in
                    throw CancellationError()
                }
            }
            let schema = try #require(try await ledger.schemasBeside().first)
            try await owner.execute(
                script: """
                    DROP SCHEMA "\(schema)" CASCADE;
                    CREATE SCHEMA "\(ledger.name)-999";
                    CREATE SCHEMA "\(ledger.name)~999"; CREATE TABLE "\(ledger.name)~999".t ();
                    CREATE SCHEMA "\(ledger.name)-mine"
                    """)
            let receipt = try await ledger.rebuild(definition)
            #expect(receipt.rows == 20)
            #expect(try await ledger.schemasBeside() == ["\(ledger.name)-mine"], "schemas with other names stay")
            try await owner.execute(script: "DROP SCHEMA \"\(ledger.name)-mine\"")
            await owner.close()
        }
    }
}
