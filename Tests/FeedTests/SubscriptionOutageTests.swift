import EmbeddedServices
import EventStore
import Feed
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

/// What subscriptions do while Redis or Postgres is down, and when the ledger is restored.
@Suite(.timeLimit(.minutes(10))) struct SubscriptionOutageTests {
    /// Redis is down at the start, then up, then down again.
    @Test func isCorrectWhateverRedisDoes() async throws {
        let server = try await PrivateRedis.start(directory: TestServers.directory("feed-redis"))
        let redis = try RedisConfiguration(url: server.url)
        try await server.kill()
        try await TestLedger.with { ledger async throws in
            try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                let seen = [Seen(), Seen()]
                let following = [feed.subscribe(), feed.subscribe(jobs: ["a"])].enumerated().map {
                    index, subscription in
                    Task { for try await event in subscription { await seen[index].add(event) } }
                }
                try await ledger.queue("a")
                for count in 1...20 { try await ledger.progress("a", count) }
                for seen in seen { try await seen.until(21) }
                #expect(!feed.figures.isJoined && feed.figures.deliveryLag.count == 0)
                try await server.restart()
                _ = try await eventually("the feed listens to Redis") { feed.figures.isJoined ? true : nil }
                _ = try await eventually("events arrive through Redis") {
                    try await ledger.progress("a", 1)
                    return feed.figures.deliveryLag.count > 10 ? true : nil
                }
                try await server.kill()
                _ = try await eventually("the feed notices the loss of Redis") { feed.figures.isJoined ? nil : true }
                for count in 1...20 { try await ledger.progress("a", count) }
                let head = Int(try await ledger.store.head())
                for seen in seen {
                    try await seen.until(head)
                    #expect(await seen.positions == (1...head).map { Position($0) })
                }
                for task in following { task.cancel() }
                for task in following { _ = await task.result }
            }
        }
        try await server.stop()
    }

    /// Postgres is killed and restarted: no event is missed or repeated.
    @Test func goesOnWhenPostgresIsBack() async throws {
        let server = try await PrivatePostgres.start(directory: TestServers.directory("feed-postgres"))
        try await TestLedger.with(url: server.url) { ledger async throws in
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                let seen = Seen()
                let following = Task { for event in try await feed.subscribe().first(40) { await seen.add(event) } }
                async let first = feed.subscribe().first(20)
                try await ledger.queue("a")
                for count in 1...19 { try await ledger.progress("a", count) }
                #expect(try await first.count == 20)
                try await server.kill()
                try await server.restart()
                for count in 20...39 {
                    _ = try await ledger.store.append(
                        NewEvent(type: "progress", data: #"{"completed":\#(count)}"#), to: "a", timeout: .seconds(60))
                }
                try await following.value
                #expect(await seen.positions == Array(1...40))
            }
        }
        try await server.stop()
    }

    /// A restored ledger has a new epoch: its positions mean other events.
    @Test(arguments: [false, true])
    func aNewEpochEndsIt(withRedis: Bool) async throws {
        try await TestLedger.with { ledger async throws in
            let redis = withRedis ? try await TestServers.shared.redis() : nil
            try await ledger.queue("a")
            let old = try await ledger.store.epoch()
            try await ledger.withFeed(redis, relayTo: redis, poll: .milliseconds(20)) { feed async throws in
                let seen = Seen()
                let subscriptions = [feed.subscribe(), feed.subscribe(jobs: ["a"]), feed.subscribe(jobs: ["a", "b"])]
                let following = subscriptions.map { subscription in
                    Task { for try await event in subscription { await seen.add(event) } }
                }
                try await seen.until(3)
                _ = try await ledger.store.pool.withConnection { try await $0.query("SELECT begin_epoch()") }
                for task in following { await #expect(throws: AnotherEpoch.self) { try await task.value } }
                // So does a new subscription that gives the old epoch, or a position beyond the
                // head.
                await #expect(throws: AnotherEpoch.self) { try await feed.subscribe(after: 1, epoch: old).first(1) }
                await #expect(throws: AnotherEpoch.self) { try await feed.subscribe(after: nil, epoch: old).first(1) }
                await #expect(throws: AnotherEpoch.self) { try await feed.subscribe(after: 2).first(1) }
                #expect(try await feed.subscribe(epoch: try await ledger.store.epoch()).first(1).count == 1)
            }
        }
    }

    /// Subscriptions have seen the old epoch, and the feed polls for the first time in the new one,
    /// so it has nothing to compare with.
    @Test func aNewEpochBeforeTheFirstPollEndsIt() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            let feed = Feed(store: ledger.store, redis: nil, poll: .milliseconds(20), logger: TestLedger.logger)
            var iterators = [feed.subscribe(), feed.subscribe(jobs: ["a"]), feed.subscribe(jobs: ["a", "b"])].map {
                $0.makeAsyncIterator()
            }
            for index in iterators.indices { #expect(try await iterators[index].next()?.position == 1) }
            _ = try await ledger.store.pool.withConnection { try await $0.query("SELECT begin_epoch()") }
            let running = Task { await feed.run() }
            for index in iterators.indices {
                await #expect(throws: AnotherEpoch.self) { _ = try await iterators[index].next() }
            }
            // A later subscription follows the new epoch.
            #expect(try await feed.subscribe().first(1).count == 1)
            running.cancel()
            await running.value
        }
    }
}
