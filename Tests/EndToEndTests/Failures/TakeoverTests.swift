import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

extension EndToEnd {
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

        /// Whoever stands by asks every half of a renewal. What a busy machine adds to that is its
        /// own.
        @Test("by its settings") func settings() {
            #expect(Lease.duration + Lease.renewal / 2 < .seconds(5))
        }

        @Test("from a relay") func relay() async throws {
            try await UserLedger.with { user in
                let redis = try await TestServers.shared.redis()
                try await withTwo("relay", of: user, isAtWork: { $0["relay"]?["active"] == true }) { first in
                    var items = try RedisSubscription(redis, patterns: [user.ledger.name.everyJob]).makeAsyncIterator()
                    #expect(await items.next() == .joined)
                    try await user.ledger.queue("before")
                    #expect(try await nextPosition(&items) == "1")

                    await first.kill()
                    try await user.ledger.queue("after")
                    // The second begins behind the checkpoint, which may be a little behind what
                    // was published.
                    while try await nextPosition(&items) != "2" {}
                }
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
            let isAtWork: @Sendable (JSONValue) -> Bool = { status in
                status["projections"]?.elements.count == 4
                    && status["projections"]?.elements.allSatisfy { $0["active"] == true } == true
            }
            try await UserLedger.with { user in
                try await withTwo("project", of: user, isAtWork: isAtWork) { first in
                    await first.kill()
                    try await user.ledger.queue("after")
                    let connection = try await user.ledger.connect()
                    try await until("the job is projected") {
                        try await connection.query("SELECT FROM batch_jobs WHERE id = 'after'").isEmpty == false
                    }
                    await connection.close()
                }
            }
        }

        /// Whose the lease of a projection is, and since how many changes of holder.
        private struct Holding: Equatable {
            var holder: String
            var fence: Int64
        }

        @Test("not from a projector whose fold takes longer than the lease lasts, until that one is killed")
        func longFold()
            async throws
        {
            let isAtWork: @Sendable (JSONValue) -> Bool = { status in
                status["projections"]?.elements.count == 4
                    && status["projections"]?.elements.allSatisfy { $0["active"] == true } == true
            }
            try await UserLedger.with { user in
                try await withTwo("project", of: user, isAtWork: isAtWork) { first in
                    let (lock, connection) = (try await user.ledger.connect(), try await user.ledger.connect())
                    func holding() async throws -> Holding {
                        let row = try await connection.query(
                            "SELECT holder, fence FROM leases WHERE name = 'projection:batch_jobs'"
                        ).only()
                        return Holding(holder: try row.decode(0), fence: try row.decode(1))
                    }
                    // Readers go on; the fold waits for the test.
                    try await lock.execute(script: "BEGIN; LOCK TABLE batch_jobs IN SHARE MODE")
                    try await user.ledger.queue("long")
                    try await until("the fold waits") {
                        try await connection.query(
                            "SELECT FROM pg_locks WHERE relation = 'batch_jobs'::regclass AND NOT granted"
                        ).isEmpty == false
                    }
                    let before = try await holding()
                    try await connection.execute(
                        script:
                            "CREATE TEMPORARY TABLE began AS SELECT expires_at FROM leases WHERE name = 'projection:batch_jobs'"
                    )
                    // Three leases have gone by since, and only renewals move this.
                    try await until("the lease is renewed and renewed") {
                        let isRenewed: Bool = try await connection.query(
                            """
                            SELECT leases.expires_at > began.expires_at + interval '9 s' FROM leases, began WHERE name = 'projection:batch_jobs'
                            """
                        ).only().decode(0)
                        let isTaken = try await holding() != before
                        return isRenewed || isTaken
                    }
                    #expect(try await holding() == before, "the one that stands by has taken over")

                    await first.kill()
                    try await until("the other has the lease") { try await holding().holder != before.holder }
                    try await lock.execute(script: "COMMIT")
                    try await until("the job is projected") {
                        try await connection.query("SELECT FROM batch_jobs WHERE id = 'long'").isEmpty == false
                    }
                    for connection in [lock, connection] { await connection.close() }
                }
            }
        }
    }
}
