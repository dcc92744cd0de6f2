import EmbeddedServices
import EventStore
import Feed
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

/// Every event once and in order, with Redis, without it, and with one that is not there.
@Suite struct FollowerTests {
    enum Wakes: CaseIterable { case redis, deadRedis, pollingOnly }

    private actor Seen {
        var positions: [Position] = []
        func add(_ position: Position) -> Int {
            positions.append(position)
            return positions.count
        }
    }

    @Test(arguments: Wakes.allCases)
    func everyEventOnceInOrder(_ wakes: Wakes) async throws {
        try await TestLedger.with { ledger async throws in
            let redis: RedisConfiguration? =
                switch wakes {
                case .redis: try await TestServers.shared.redis()
                case .deadRedis: try RedisConfiguration(url: "redis://127.0.0.1:1")
                case .pollingOnly: nil
                }
            let relay = Task { if wakes == .redis, let redis { await ledger.relay(redis).run() } }
            try await ledger.queue("a")
            let seen = Seen()
            let total = 1 + 1200 + 100
            let follower = Follower(store: ledger.store, redis: redis, poll: .milliseconds(50))
            let following = Task {
                try await follower.follow(EventQuery()) { event in await seen.add(event.position) < total }
            }
            _ = try await ledger.store.append(
                (1...1200).map { AppendRequest(job: "a", events: [NewEvent(type: "progress", data: #"{"completed":\#($0)}"#)]) })
            for count in 1...100 { try await ledger.progress("a", count) }
            try await following.value
            #expect(await seen.positions == Array(1...Position(total)))
            relay.cancel()
            await relay.value
        }
    }

    @Test func filtersByJobAndTypeFromAPosition() async throws {
        try await TestLedger.with { ledger async throws in
            for job in ["a", "b"] { try await ledger.queue(job) }
            for count in 1...5 {
                try await ledger.progress("a", count)
                try await ledger.progress("b", count)
            }
            let seen = Seen()
            let follower = Follower(store: ledger.store, redis: nil, poll: .milliseconds(20))
            async let following: Void = follower.follow(EventQuery(after: 6, job: "a", types: [.progress, .finished])) { event in
                _ = await seen.add(event.position)
                return event.type != .finished
            }
            _ = try await ledger.store.append(NewEvent(type: "truncated", data: #"{"reason":"r"}"#), to: "a")
            _ = try await ledger.store.append(NewEvent(type: "finished"), to: "a")
            try await following
            #expect(await seen.positions == [7, 9, 11, 14])
        }
    }

    /// Postgres goes away and comes back: nothing is missed or given twice.
    @Test func goesOnWhenPostgresIsBack() async throws {
        let server = try await PrivatePostgres.start(directory: TestServers.directory("follower-postgres"))
        try await TestLedger.with(url: server.url) { ledger async throws in
            let seen = Seen()
            let follower = Follower(store: ledger.store, redis: nil, poll: .milliseconds(20))
            async let following: Void = follower.follow(EventQuery()) { event in await seen.add(event.position) < 40 }
            try await ledger.queue("a")
            for count in 1...19 { try await ledger.progress("a", count) }
            _ = try await eventually("the first are seen") { await seen.positions.count == 20 ? true : nil }
            try await server.kill()
            try await server.restart()
            for count in 20...39 {
                _ = try await ledger.store.append(
                    NewEvent(type: "progress", data: #"{"completed":\#(count)}"#), to: "a", patience: .seconds(60))
            }
            try await following
            #expect(await seen.positions == Array(1...40))
        }
        try await server.stop()
    }

    /// A ledger that was restored is another one: its positions mean other events.
    @Test func aNewEpochEndsIt() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            let seen = Seen()
            let follower = Follower(store: ledger.store, redis: nil, poll: .milliseconds(20))
            let following = Task {
                try await follower.follow(EventQuery()) { event in
                    _ = await seen.add(event.position)
                    return true
                }
            }
            _ = try await eventually("the first is seen") { await seen.positions == [1] ? true : nil }
            _ = try await ledger.store.pool.withConnection { try await $0.query("SELECT begin_epoch()") }
            await #expect(throws: AnotherEpoch.self) { try await following.value }
        }
    }

    @Test func endsWhenItsTaskIsCancelled() async throws {
        try await TestLedger.with { ledger async throws in
            let follower = Follower(store: ledger.store, redis: try await TestServers.shared.redis())
            let task = Task { try await follower.follow(EventQuery()) { _ in true } }
            task.cancel()
            await #expect(throws: (any Error).self) { try await task.value }
        }
    }
}
