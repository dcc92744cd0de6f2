import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

extension EndToEnd {
    /// Two processes run, and the one at work is killed. In each case exactly one of them works:
    /// the lease changes its holder once, and no event is published or folded twice.
    @Suite("a process that stands by takes over within 5 s") struct TakeoverTests {
        /// Runs `body` with two processes, of which the first is at work.
        private func withTwo(
            _ command: String, of user: UserLedger, isAtWork: @Sendable (JSONValue) -> Bool,
            _ body: (_ first: RunningProgram) async throws -> Void
        ) async throws {
            try await user.running(command) { first in
                try await until("\(command) is at work") {
                    try await isAtWork(user.run("status", "--json").json())
                }
                try await user.running(command) { second in
                    try await second.says("started")
                    try await body(first)
                }
            }
        }

        private func withTwoProjectors(
            of user: UserLedger, _ body: (_ first: RunningProgram) async throws -> Void
        ) async throws {
            let isAtWork: @Sendable (JSONValue) -> Bool = { status in
                status["projections"]?.elements.count == 5
                    && status["projections"]?.elements.allSatisfy { $0["active"] == true } == true
            }
            try await withTwo("project", of: user, isAtWork: isAtWork, body)
        }

        /// Waits until the lease has another holder, and checks that it changed hands once.
        private func expectOneTakeover(
            of lease: String, from before: LeaseHolding, on connection: PostgresConnection
        ) async throws {
            let after: LeaseHolding = try await eventually("another process has the lease \(lease)") {
                let holding = try await LeaseHolding.load(lease, on: connection)
                return holding?.holder == before.holder ? nil : holding
            }
            #expect(after.fence == before.fence + 1, "\(lease) changed hands more than once")
        }

        /// A process that stands by asks for the lease at every ``LeaseTimes/retry``. A busy
        /// machine may add to that.
        @Test("by its settings") func settings() {
            #expect(LeaseTimes.standard.duration + LeaseTimes.standard.retry < .seconds(5))
        }

        @Test("from a relay") func relay() async throws {
            try await UserLedger.with { user in
                let redis = try await TestServers.shared.redis()
                let connection = try await user.ledger.connect()
                try await withTwo("relay", of: user, isAtWork: { $0["relay"]?["active"] == true }) { first in
                    var items = try RedisSubscription(redis, patterns: [user.ledger.name.everyStream])
                        .makeAsyncIterator()
                    #expect(await items.next() == .joined)
                    // If both published, a position would come twice.
                    for position in ["1", "2"] {
                        try await user.ledger.queue("before \(position)")
                        #expect(try await nextPosition(&items) == position)
                    }

                    let before = try #require(try await LeaseHolding.load("relay", on: connection))
                    await first.kill()
                    try await user.ledger.queue("after")
                    // The second begins at the checkpoint, which may be a little behind the last
                    // published position. So positions may come again at this point.
                    while try await nextPosition(&items) != "3" {}
                    try await expectOneTakeover(of: "relay", from: before, on: connection)
                    for position in ["4", "5"] {
                        try await user.ledger.queue("after \(position)")
                        #expect(try await nextPosition(&items) == position)
                    }
                }
                await connection.close()
            }
        }

        private func nextPosition(_ items: inout RedisSubscription.Iterator) async throws -> String? {
            while let item = await items.next() {
                guard case .message(_, _, let payload) = item else { continue }
                return try JSONValue(parsing: String(decoding: payload, as: UTF8.self))["position"]?.text
            }
            return nil
        }

        @Test("from a projector") func projector() async throws {
            try await UserLedger.with { user in
                try await withTwoProjectors(of: user) { first in
                    let connection = try await user.ledger.connect()
                    var before: [String: LeaseHolding] = [:]
                    for name in ["audit_log", "backtesting", "batch_job_runs", "batch_jobs", "daily_job_stats"] {
                        let holding = try #require(
                            try await LeaseHolding.load("projection:\(name)", on: connection))
                        before[name] = holding
                    }
                    await first.kill()
                    try await user.ledger.queue("after")
                    try await until("the job is projected") {
                        try await connection.query("SELECT FROM batch_jobs WHERE id = 'after'").isEmpty == false
                    }
                    for (name, holding) in before {
                        try await expectOneTakeover(of: "projection:\(name)", from: holding, on: connection)
                    }
                    await connection.close()
                    // This projection counts events, so it would show an event that was folded
                    // twice.
                    try await user.untilProjected()
                    let verified = try await user.run("verify", "daily_job_stats")
                    #expect(verified.code == 0, "\(verified)")
                }
            }
        }

        @Test("not from a projector whose fold takes longer than the lease lasts, until that one is killed")
        func longFold() async throws {
            try await UserLedger.with { user in
                try await withTwoProjectors(of: user) { first in
                    let (lock, connection) = (try await user.ledger.connect(), try await user.ledger.connect())
                    // The lock lets readers go on, and makes the fold wait for the test.
                    try await lock.execute(script: "BEGIN; LOCK TABLE batch_jobs IN SHARE MODE")
                    try await user.ledger.queue("long")
                    try await until("the fold waits") {
                        try await connection.query(
                            "SELECT FROM pg_locks WHERE relation = 'batch_jobs'::regclass AND NOT granted"
                        ).isEmpty == false
                    }
                    let before = try #require(
                        try await LeaseHolding.load("projection:batch_jobs", on: connection))
                    try await waitForThreeLeases(on: connection, heldBy: before)
                    let later = try await LeaseHolding.load("projection:batch_jobs", on: connection)
                    #expect(later == before, "the process that stands by has taken over")

                    await first.kill()
                    try await expectOneTakeover(of: "projection:batch_jobs", from: before, on: connection)
                    try await lock.execute(script: "COMMIT")
                    try await until("the job is projected") {
                        try await connection.query("SELECT FROM batch_jobs WHERE id = 'long'").isEmpty == false
                    }
                    for connection in [lock, connection] { await connection.close() }
                }
            }
        }

        private static let markBegin = """
            CREATE TEMPORARY TABLE began AS SELECT expires_at FROM leases WHERE name = 'projection:batch_jobs'
            """
        private static let isRenewed = """
            SELECT leases.expires_at > began.expires_at + interval '9 s' FROM leases, began
            WHERE name = 'projection:batch_jobs'
            """

        /// Waits until renewals have moved the end of the lease by three times its duration, or
        /// until it has another holder.
        private func waitForThreeLeases(on connection: PostgresConnection, heldBy before: LeaseHolding) async throws {
            try await connection.execute(script: Self.markBegin)
            try await until("the lease was renewed for three durations") {
                let isRenewed: Bool = try await connection.query(Self.isRenewed).only().decode(0)
                let isTaken = try await LeaseHolding.load("projection:batch_jobs", on: connection) != before
                return isRenewed || isTaken
            }
        }
    }
}
