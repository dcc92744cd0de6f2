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

        /// Whoever stands by asks every half of a renewal. What a busy machine adds to that is its own.
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
                    // The second begins behind the checkpoint, which may be a little behind what was published.
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
    }
}
