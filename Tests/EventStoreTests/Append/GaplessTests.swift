import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Synchronization
import Testing

/// The invariant that everything relies on: positions are 1…N without gaps, and become visible in
/// order.
@Suite struct GaplessTests {
    /// Sixteen appenders of every kind, half of them in SQL transactions of their own, with events
    /// of jobs and of another category. Some transactions are aborted, and some sessions are killed
    /// between numbering and commit. Two readers check the log all the time.
    @Test func positionsAreGaplessAndBecomeVisibleInOrder() async throws {
        // `make soak` runs for long.
        let target: Int64 = ProcessInfo.processInfo.environment["JOBLEDGER_SOAK"] == nil ? 200_000 : 5_000_000
        let seed = UInt64.random(in: 0...UInt64.max)
        print("gapless: seed \(seed)")
        try await TestLedger.with(connections: 10) { ledger async throws in
            let owner = try await ledger.connect()
            try await TestCategories.install(on: owner)
            await owner.close()
            let isOver = Flag()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<16 {
                    group.addTask {
                        var random = SeededGenerator(seed: seed &+ UInt64(number))
                        if number.isMultiple(of: 2) {
                            try await Self.appendInSwift(number, ledger, &random, until: isOver)
                        } else {
                            try await Self.appendInSQL(number, ledger, &random, until: isOver)
                        }
                    }
                }
                for _ in 0..<2 { group.addTask { try await Self.readAlong(ledger, until: isOver) } }
                group.addTask {
                    _ = try await eventually(within: .seconds(7200), "\(target) events") {
                        try await ledger.store.head() >= target ? true : nil
                    }
                    isOver.raise()
                }
                try await group.waitForAll()
            }
            let connection = try await ledger.connect()
            let row = try await connection.query(
                """
                SELECT count(*), min(position), max(position), count(DISTINCT event_id),
                       (SELECT count(*) FROM (SELECT FROM events GROUP BY category, stream_id
                                              HAVING max(version) <> count(*) OR min(version) <> 1) AS broken),
                       (SELECT count(*) FROM (SELECT version - row_number() OVER (PARTITION BY category, stream_id
                           ORDER BY position) AS off
                                                FROM events) AS placed WHERE off <> 0),
                       (SELECT count(*) FROM (SELECT recorded_at < lag(recorded_at) OVER (ORDER BY position)
                           AS back FROM events) AS t WHERE back)
                  FROM events
                """
            ).only()
            let (count, first, last, ids): (Int64, Int64, Int64, Int64) = (
                try row.decode(0), try row.decode(1), try row.decode(2), try row.decode(3)
            )
            #expect(count >= target && first == 1 && last == count && ids == count)
            #expect(try row.decode(4, as: Int64.self) == 0, "versions within a job are not contiguous")
            #expect(try row.decode(5, as: Int64.self) == 0, "versions within a job are not in the order of positions")
            #expect(try row.decode(6, as: Int64.self) == 0, "recorded_at goes back")
            // Aborted and killed transactions have left no claims behind.
            #expect(try await connection.query("SELECT * FROM claim_differences()").isEmpty)
            await connection.close()
        }
    }

    /// Appends mixed batches through the store, some with refusals.
    private static func appendInSwift(
        _ number: Int, _ ledger: TestLedger, _ random: inout SeededGenerator, until isOver: Flag
    ) async throws {
        var jobs: [String] = []
        while !isOver.isRaised {
            var requests: [AppendRequest] = []
            for _ in 0..<random.below(400) + 1 {
                switch random.below(20) {
                case 0:
                    jobs.append("swift-\(number)-\(jobs.count)")
                    requests.append(
                        AppendRequest(job: jobs.last!, events: [NewEvent(type: "queued", data: #"{"name":"n"}"#)]))
                case 1:
                    requests.append(AppendRequest(job: "ghost-\(random.next())", events: [NewEvent(type: "finished")]))
                default:
                    let job = jobs.isEmpty ? "ghost" : jobs[Int(random.below(UInt64(jobs.count)))]
                    requests.append(
                        AppendRequest(job: job, events: [NewEvent(type: "progress", data: #"{"completed":1}"#)]))
                }
            }
            _ = try await ledger.store.append(requests, timeout: .seconds(120))
        }
    }

    /// Appends one event or a few in the caller's own transaction, which then commits, rolls back,
    /// or loses its session.
    private static func appendInSQL(
        _ number: Int, _ ledger: TestLedger, _ random: inout SeededGenerator, until isOver: Flag
    ) async throws {
        var connection = try await ledger.connect(as: "appender \(number)")
        var job = 0
        while !isOver.isRaised {
            job += 1
            do {
                try await connection.execute(script: "BEGIN")
                if random.below(3) == 0 {
                    let user = "user-\(number)-\(job)"
                    try await connection.query(
                        """
                        SELECT FROM append(ARRAY[$1, $1 || '-b', $1], '{registered,queued,updated}',
                          ARRAY[json_build_object('email', $1)::text, '{"name": "n"}', '{}'],
                          categories => '{user,job,user}')
                        """, user)
                }
                for event in 0..<Int(random.below(4)) + 1 {
                    let (type, data) = event == 0 ? ("queued", #"{"name":"n"}"#) : ("progress", #"{"completed":1}"#)
                    try await connection.query(
                        "SELECT * FROM append_event($1, $2, $3::json)", "sql-\(number)-\(job)", type, data)
                }
                switch random.below(12) {
                case 0:
                    try await connection.execute(script: "ROLLBACK")
                case 1:
                    // Another session kills this one between numbering and commit.
                    let process = await connection.serverProcess
                    _ = try await ledger.store.pool.withConnection {
                        try await $0.query("SELECT pg_terminate_backend($1)", process)
                    }
                    try await connection.execute(script: "COMMIT")
                case 2:
                    // The client goes away with the transaction open.
                    await connection.close()
                    connection = try await ledger.connect(as: "appender \(number)")
                default:
                    if random.below(8) == 0 { try await Task.sleep(for: .milliseconds(Int64(random.below(5)))) }
                    try await connection.execute(script: "COMMIT")
                }
            } catch let error as PostgresError where error.isConnectionFailure || error.isRetriable {
                await connection.close()
                connection = try await ledger.connect(as: "appender \(number)")
            }
        }
        await connection.close()
    }

    /// Within one snapshot, the visible positions must be 1…max: the number of events equals the
    /// last position. And the log never becomes shorter.
    private static func readAlong(_ ledger: TestLedger, until isOver: Flag) async throws {
        let connection = try await ledger.connect(as: "reader")
        var checkpoint: Int64 = 0
        while !isOver.isRaised {
            let row = try await connection.query(
                """
                SELECT count(*), coalesce(max(position), $1), coalesce(min(position), $1 + 1) FROM events
                 WHERE position > $1
                """,
                checkpoint
            ).only()
            let (count, last, first): (Int64, Int64, Int64) = (try row.decode(0), try row.decode(1), try row.decode(2))
            #expect(
                last - checkpoint == count && first == checkpoint + 1,
                "after \(checkpoint) there were \(count) events up to \(last)")
            checkpoint = last
        }
        await connection.close()
    }
}

/// A flag that is raised once and that all tasks see.
final class Flag: Sendable {
    private let raised = Atomic(false)
    var isRaised: Bool { raised.load(ordering: .acquiring) }
    func raise() { raised.store(true, ordering: .releasing) }
}
