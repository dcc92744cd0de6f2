import BlockingIO
import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

@testable import Feed

/// Every event once and in order, with Redis, without it, and with one that is not there.
@Suite(.timeLimit(.minutes(10))) struct SubscriptionTests {
    enum Wakes: CaseIterable { case redis, silentRedis, deadRedis, pollingOnly }

    @Test(arguments: Wakes.allCases)
    func everyEventOnceInOrder(_ wakes: Wakes) async throws {
        try await TestLedger.with { ledger async throws in
            let redis: RedisConfiguration? =
                switch wakes {
                case .redis, .silentRedis: try await TestServers.shared.redis()
                case .deadRedis: try RedisConfiguration(url: "redis://127.0.0.1:1")
                case .pollingOnly: nil
                }
            try await ledger.queue("a")
            let total = 1 + 1200 + 100
            try await ledger.withFeed(redis, relayTo: wakes == .redis ? redis : nil, poll: .milliseconds(50)) {
                feed async throws in
                async let all = feed.subscribe().first(total)
                async let ofJob = feed.subscribe(jobs: ["a"]).first(total)
                async let ofJobs = feed.subscribe(jobs: ["a", "b"]).first(total)
                _ = try await ledger.store.append(
                    (1...1200).map {
                        AppendRequest(job: "a", events: [NewEvent(type: "progress", data: #"{"completed":\#($0)}"#)])
                    }
                )
                for count in 1...100 { try await ledger.progress("a", count) }
                for events in try await [all, ofJob, ofJobs] {
                    #expect(events.map(\.position) == Array(1...Position(total)))
                }
            }
        }
    }

    @Test func filtersByJobAndTypeFromAPosition() async throws {
        try await TestLedger.with { ledger async throws in
            for job in ["a", "b"] { try await ledger.queue(job) }
            for count in 1...5 {
                try await ledger.progress("a", count)
                try await ledger.progress("b", count)
            }
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                let seen = Seen()
                let following = Task {
                    for try await event in feed.subscribe(after: 6, job: "a", types: [.progress, .finished]) {
                        await seen.add(event)
                    }
                }
                _ = try await ledger.store.append(NewEvent(type: "truncated", data: #"{"reason":"r"}"#), to: "a")
                _ = try await ledger.store.append(NewEvent(type: "finished"), to: "a")
                // It ends by itself.
                try await following.value
                #expect(await seen.positions == [7, 9, 11, 14])
                // Several jobs in their common order, from somewhere in the middle of each.
                #expect(try await feed.subscribe(after: 5, jobs: ["a", "b"]).first(9).map(\.position) == Array(6...14))
                #expect(
                    try await feed.subscribe(after: 5, jobs: ["a", "c"], types: [.progress]).first(3).map(\.position)
                        == [
                            7, 9, 11,
                        ])
            }
        }
    }

    /// Whether an event comes from Postgres or by Redis, it is the same.
    @Test func caughtUpOrLiveAnEventIsTheSame() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let odd: JobID = #"a "b" 🙂:*"#
            try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                try await feed.whenLive(ledger)
                async let live = feed.subscribe(jobs: [odd]).first(3)
                _ = try await eventually("subscribed") { feed.figures.subscribers > 0 ? true : nil }
                try await ledger.queue(odd, total: 7)
                _ = try await ledger.store.append(
                    NewEvent(
                        type: "progress", data: #"{"completed":1}"#,
                        metadata: #"{"actor":"ada \"a\"","correlation_id":"c-1"}"#,
                        occurredAt: Timestamp("2026-01-01T00:00:00.25Z")), to: odd)
                _ = try await ledger.store.append(NewEvent(type: "truncated", data: "{\"reason\" :\n \"r\"}"), to: odd)
                let events = try await live
                let caughtUp = try await feed.subscribe(jobs: [odd]).first(3)
                #expect(events == caughtUp)
                #expect(
                    events.map(\.job) == [odd, odd, odd] && events.map(\.version) == [1, 2, 3] && events[0].total == 7)
                #expect(
                    events[1].actor == #"ada "a""# && events[1].correlationID == "c-1" && events[1].traceparent == nil)
                #expect(events[1].time == Timestamp("2026-01-01T00:00:00.25Z") && events[1].recordedAt > events[1].time)
                #expect(events[2].data == "{\"reason\" :  \"r\"}" && events[2].time == events[2].recordedAt)
            }
        }
    }

    /// Data that are too large for a message arrive whole, in their place.
    @Test func largeDataArriveWhole() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                try await feed.whenLive(ledger)
                let start = try await ledger.store.head()
                async let all = feed.subscribe(after: start).first(41)
                async let ofJob = feed.subscribe(after: start, jobs: ["a"]).first(41)
                async let ofJobs = feed.subscribe(after: start, jobs: ["a", "b"]).first(41)
                try await ledger.queue("a")
                for count in 1...40 {
                    let size = count.isMultiple(of: 10) ? 300_000 : 10
                    let data = #"{"completed":\#(count),"message":"\#(String(repeating: "x", count: size))"}"#
                    _ = try await ledger.store.append(NewEvent(type: "progress", data: data), to: "a")
                }
                for events in try await [all, ofJob, ofJobs] {
                    #expect(events.map(\.version) == Array(1...41))
                    #expect(events.filter { ($0.data?.utf8.count ?? 0) > 300_000 }.map(\.version) == [11, 21, 31, 41])
                    #expect(events.allSatisfy { $0.hasData })
                }
            }
        }
    }

    /// Nobody asks Postgres for an event that Redis has brought.
    @Test func liveEventsComeFromRedisAlone() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                try await feed.whenLive(ledger)
                let start = try await ledger.store.head()
                async let all = feed.subscribe(after: start).first(201)
                async let ofJob = feed.subscribe(after: start, jobs: ["a"]).first(201)
                _ = try await eventually("subscribed") { feed.figures.subscribers == 2 ? true : nil }
                try await ledger.queue("a")
                for count in 1...200 { try await ledger.progress("a", count) }
                for events in try await [all, ofJob] { #expect(events.map(\.version) == Array(1...201)) }
                let figures = feed.figures
                // Those that were under way while the line was being told of them.
                #expect(figures.refilledEvents < 50 && figures.deliveryLag.count >= 200, "\(figures)")
            }
        }
    }

    /// The last message of all is lost: the head's beat shows it to who follows everything, the
    /// question after it to who follows a job.
    @Test func theHeadRevealsALossAtTheTail() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let proxy = try LossyProxy(target: redis.port, seed: 1)
            var through = redis
            through.address = .tcp(host: "127.0.0.1", port: proxy.port)
            try await ledger.withFeed(through, relayTo: redis) { feed async throws in
                try await feed.whenLive(ledger)
                let start = try await ledger.store.head()
                async let all = feed.subscribe(after: start).first(6)
                _ = try await eventually("subscribed") { feed.figures.subscribers == 1 ? true : nil }
                proxy.set(LossyProxy.Faults(drop: 1000, channelSuffix: ":job:a"))
                try await ledger.queue("a")
                for count in 1...5 { try await ledger.progress("a", count) }
                #expect(try await all.map(\.version) == Array(1...6))
                #expect(feed.figures.isJoined && proxy.counts.dropped >= 1 && feed.figures.gapsDetected >= 1)
                let dropped = proxy.counts.dropped
                async let ofJob = feed.subscribe(after: start + 6, jobs: ["a"]).first(1)
                _ = try await eventually("subscribed") { feed.figures.subscribers == 1 ? true : nil }
                try await ledger.progress("a", 6)
                #expect(try await ofJob.map(\.version) == [7])
                #expect(feed.figures.isJoined && proxy.counts.dropped >= dropped)
            }
            proxy.stop()
        }
    }

    /// A consumer that takes its time goes back to Postgres; its neighbour is none the wiser, and
    /// memory is bounded.
    @Test func aSlowConsumerLosesNothing() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            try await ledger.queue("a")
            try await ledger.withFeed(
                redis, relayTo: redis, bufferLimits: Feed.BufferLimits(events: 20, bytes: 100_000)
            ) {
                feed async throws in
                try await feed.whenLive(ledger)
                let start = try await ledger.store.head()
                async let quick = feed.subscribe(after: start).first(410)
                var iterator = feed.subscribe(after: start, jobs: ["a"]).makeAsyncIterator()
                var taken: [FeedEvent] = []
                var overflows = 0
                for round in 0..<10 {
                    // It has taken all there is, so that it is live, and has other things to do
                    // while more comes than it has room for.
                    try await ledger.progress("a", 1)
                    taken.append(try #require(try await iterator.next()))
                    let received = feed.figures.deliveryLag.count
                    for count in 1...40 { try await ledger.progress("a", count) }
                    _ = try await eventually("received") {
                        feed.figures.deliveryLag.count >= received + 40 ? true : nil
                    }
                    overflows = feed.state.withLock { $0.subscribers.byJob["a"]?.first?.tally.overflows ?? 0 }
                    while taken.count < (round + 1) * 41 {
                        let batch = try #require(try await iterator.nextBatch())
                        #expect(batch.count <= 40)
                        taken += batch
                    }
                }
                // Not in every round, where the machine is so busy that it falls behind for other
                // reasons.
                #expect(overflows >= 1)
                #expect(try await quick.count == 410)
                #expect(taken.map(\.position) == (1...410).map { start + $0 })
            }
        }
    }

    /// Redis away from the start, then there, then away again.
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
                _ = try await eventually("joined") { feed.figures.isJoined ? true : nil }
                _ = try await eventually("live") {
                    try await ledger.progress("a", 1)
                    return feed.figures.deliveryLag.count > 10 ? true : nil
                }
                try await server.kill()
                _ = try await eventually("lost") { feed.figures.isJoined ? nil : true }
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

    /// Postgres goes away and comes back: nothing is missed or given twice.
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

    /// A ledger that was restored is another one: its positions mean other events.
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
                // And whoever remembers the old one, or a position that is not there.
                await #expect(throws: AnotherEpoch.self) { try await feed.subscribe(after: 1, epoch: old).first(1) }
                await #expect(throws: AnotherEpoch.self) { try await feed.subscribe(after: nil, epoch: old).first(1) }
                await #expect(throws: AnotherEpoch.self) { try await feed.subscribe(after: 2).first(1) }
                #expect(try await feed.subscribe(epoch: try await ledger.store.epoch()).first(1).count == 1)
            }
        }
    }

    /// Subscriptions that have seen the old epoch, and a feed that asks for the first time in the
    /// new one: it has nothing to compare with.
    @Test func aNewEpochBeforeTheFirstQuestionEndsIt() async throws {
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
            // Who comes afterwards is of the new one.
            #expect(try await feed.subscribe().first(1).count == 1)
            running.cancel()
            await running.value
        }
    }

    @Test func aJobsSubscriptionEndsWithTheJob() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                async let live = feed.subscribe(job: "a").first(9)
                try await ledger.queue("a")
                _ = try await ledger.store.append(NewEvent(type: "failed", data: #"{"error":"x"}"#), to: "a")
                #expect(try await live.map(\.version) == [1, 2])
                // Also for who comes late, and for who does not want to see the last.
                #expect(try await feed.subscribe(job: "a").first(9).map(\.version) == [1, 2])
                #expect(try await feed.subscribe(job: "a", types: [.queued]).first(9).map(\.version) == [1])
                #expect(try await feed.subscribe(after: 2, job: "a").first(9).isEmpty)
            }
        }
    }

    @Test func nowIsWhereTheLogEnds() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                async let first = feed.subscribe(after: nil).first(1)
                _ = try await eventually("subscribed") { feed.figures.subscribers == 1 ? true : nil }
                try await ledger.progress("a", 1)
                #expect(try await first.map(\.position) == [2])
            }
        }
    }

    @Test func endsWhenItsTaskIsCancelledOrTheFeedStops() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let stopped = try await ledger.withFeed(redis) { feed async throws in
                let cancelled = Task { try await feed.subscribe().first(1) }
                _ = try await eventually("subscribed") { feed.figures.subscribers == 1 ? true : nil }
                cancelled.cancel()
                await #expect(throws: CancellationError.self) { try await cancelled.value }
                #expect(feed.figures.subscribers == 0)
                let stopped = Task { try await feed.subscribe().first(1) }
                _ = try await eventually("subscribed") { feed.figures.subscribers == 1 ? true : nil }
                return (stopped, feed)
            }
            await #expect(throws: FeedStopped.self) { try await stopped.0.value }
            await #expect(throws: FeedStopped.self) { try await stopped.1.subscribe().first(1) }
        }
    }

    /// A thousand subscribers share one connection to Redis and listen to no more channels than
    /// there are jobs.
    @Test func manySubscribersShareOneLine() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let client = RedisClient(redis)
            let jobs = (0..<50).map { JobID("job \($0)") }
            for job in jobs { try await ledger.queue(job) }
            try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                let channels = { try await client.command("PUBSUB", "CHANNELS", "\(ledger.name):*").array?.count }
                try await withThrowingTaskGroup(of: [Int32].self) { group in
                    for number in 0..<1000 {
                        group.addTask { try await feed.subscribe(job: jobs[number % 50]).first(13).map(\.version) }
                    }
                    _ = try await eventually("all listen") { try await channels() == 51 ? true : nil }
                    for count in 1...10 { for job in jobs { try await ledger.progress(job, count) } }
                    for job in jobs { _ = try await ledger.store.append(NewEvent(type: "finished"), to: job) }
                    for try await versions in group { #expect(versions == Array(1...12)) }
                }
                #expect(feed.figures.subscribers == 0)
                _ = try await eventually("nobody listens") { try await channels() == 1 ? true : nil }
            }
        }
    }
}

extension Feed {
    /// Waits until events come by Redis.
    func whenLive(_ ledger: TestLedger) async throws {
        try await ledger.queue("first of all")
        let listening = Task { for try await _ in subscribe() {} }
        _ = try await eventually("live") {
            try await ledger.progress("first of all", 1)
            return figures.deliveryLag.count > 0 ? true : nil
        }
        listening.cancel()
        _ = await listening.result
    }
}

extension RedisConfiguration {
    var port: UInt16 { if case .tcp(_, let port) = address { port } else { 0 } }
}
