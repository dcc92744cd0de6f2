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

    /// Everything that a reader has is below the first position of the new epoch: it goes on, and
    /// misses and repeats nothing.
    @Test(arguments: [false, true])
    func goesOnInANewEpochThatLostNothing(withRedis: Bool) async throws {
        try await TestLedger.with { ledger async throws in
            let redis = withRedis ? try await TestServers.shared.redis() : nil
            try await ledger.queue("a")
            let old = try await ledger.epochDigits()
            try await ledger.withFeed(redis, relayTo: redis, poll: .milliseconds(20)) { feed async throws in
                let subscriptions = [
                    feed.subscribe(), feed.subscribe(jobs: ["a"]), feed.subscribe(jobs: ["a", "b"]),
                    feed.subscribe(types: [.queued, .progress]), feed.subscribe(job: "a"),
                ]
                let seen = subscriptions.map { _ in Seen() }
                let following = zip(subscriptions, seen).map { subscription, seen in
                    Task { for try await event in subscription { await seen.add(event) } }
                }
                for seen in seen { try await seen.until(1) }
                for epoch in 1...3 {
                    try await ledger.beginEpoch()
                    for count in 1...5 { try await ledger.progress("a", 10 * epoch + count) }
                }
                for seen in seen {
                    try await seen.until(16)
                    #expect(await seen.positions == Array(1...16))
                }
                for task in following { task.cancel() }
                for task in following { _ = await task.result }
                // A new subscription gives a place of the first epoch.
                var later = feed.subscribe(after: Place(1, epoch: old)).makeAsyncIterator()
                let new = try await ledger.epochDigits()
                #expect(later.epoch == nil)
                #expect(try await later.next()?.position == 2)
                #expect(later.epoch == new)
                // Behind its own history it shares less than it has.
                let divergence = await #expect(throws: Divergence.self) {
                    try await feed.subscribe(after: Place(2, epoch: old)).first(1)
                }
                let expected = Divergence(place: Place(2, epoch: old), shared: Place(1, epoch: new), head: 16)
                #expect(divergence == expected)
                await #expect(throws: Divergence.self) { try await feed.subscribe(after: 17).first(1) }
            }
        }
    }

    /// The log lost events that a reader has: it learns which place both have in common, and goes
    /// on from there with the surviving events.
    @Test(arguments: [false, true])
    func tellsWhereTheLogDiverged(withRedis: Bool) async throws {
        try await TestLedger.with { ledger async throws in
            let redis = withRedis ? try await TestServers.shared.redis() : nil
            try await ledger.queue("a")
            try await ledger.queue("b")
            for count in 1...8 { try await ledger.progress("a", count) }
            let old = try await ledger.epochDigits()
            try await ledger.withFeed(redis, relayTo: redis, poll: .milliseconds(20)) { feed async throws in
                let subscriptions = [feed.subscribe(), feed.subscribe(jobs: ["a", "b"]), feed.subscribe(job: "a")]
                let seen = subscriptions.map { _ in Seen() }
                let following = zip(subscriptions, seen).map { subscription, seen in
                    Task { for try await event in subscription { await seen.add(event) } }
                }
                // Nothing that it has is lost, so it goes on.
                let (unaffected, other) = (feed.subscribe(job: "b"), Seen())
                let goingOn = Task { for try await event in unaffected { await other.add(event) } }
                for (seen, count) in zip(seen, [10, 10, 9]) { try await seen.until(count) }
                try await other.until(1)
                try await ledger.lose(after: 6)
                let new = try await ledger.epochDigits()
                for task in following {
                    let divergence = await #expect(throws: Divergence.self) { try await task.value }
                    #expect(divergence?.place == Place(10, epoch: old))
                    #expect(divergence?.shared == Place(6, epoch: new))
                }
                for count in 11...16 { try await ledger.progress("b", count) }
                try await other.until(7)
                #expect(await other.positions == [2] + Array(7...12))
                #expect(try await feed.subscribe(after: Place(6, epoch: new)).first(6).map(\.position) == Array(7...12))
                // At any distance, without anybody's memory of heads.
                let later = await #expect(throws: Divergence.self) {
                    try await feed.subscribe(after: Place(9, epoch: old)).first(1)
                }
                #expect(later == Divergence(place: Place(9, epoch: old), shared: Place(6, epoch: new), head: 12))
                // A place of a history that this ledger never had.
                let unknown = await #expect(throws: Divergence.self) {
                    try await feed.subscribe(after: Place("3.00000000")).first(1)
                }
                #expect(unknown?.shared == Place(0, epoch: new))
                goingOn.cancel()
                _ = await goingOn.result
            }
        }
    }

    /// A shorter log of the same epoch: a failover lost events, and nothing was appended since.
    @Test func tellsThatTheLogIsShorter() async throws {
        try await TestLedger.with { ledger async throws in
            for job in 1...5 { try await ledger.queue("\(job)") }
            let epoch = try await ledger.epochDigits()
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                let (subscription, seen) = (feed.subscribe(), Seen())
                let following = Task { for try await event in subscription { await seen.add(event) } }
                try await seen.until(5)
                try await ledger.lose(after: 3, beginningEpoch: false)
                let divergence = await #expect(throws: Divergence.self) { try await following.value }
                #expect(
                    divergence == Divergence(place: Place(5, epoch: epoch), shared: Place(3, epoch: epoch), head: 3))
            }
        }
    }

    /// Subscriptions have seen the old epoch, and the feed polls for the first time in the new one,
    /// so it has nothing to compare with.
    @Test func findsADivergenceBeforeTheFirstPoll() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            try await ledger.progress("a", 1)
            let feed = Feed(store: ledger.store, redis: nil, poll: .milliseconds(20), logger: TestLedger.logger)
            var iterators = [feed.subscribe(), feed.subscribe(jobs: ["a"]), feed.subscribe(jobs: ["a", "b"])].map {
                $0.makeAsyncIterator()
            }
            for index in iterators.indices { #expect(try await iterators[index].nextBatch()?.count == 2) }
            try await ledger.lose(after: 1)
            let running = Task { await feed.run() }
            for index in iterators.indices {
                let divergence = await #expect(throws: Divergence.self) { _ = try await iterators[index].next() }
                #expect(divergence?.shared.position == 1)
            }
            // A later subscription follows the new epoch.
            #expect(try await feed.subscribe().first(1).count == 1)
            running.cancel()
            await running.value
        }
    }
}
