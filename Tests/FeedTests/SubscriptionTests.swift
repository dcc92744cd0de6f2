import BlockingIO
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

@testable import Feed

/// Every event once and in order: with Redis, with a silent Redis, with an unreachable one, and
/// without any.
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
                // The subscription ends by itself.
                try await following.value
                #expect(await seen.positions == [7, 9, 11, 14])
                // Several jobs in their common order, from a position in the middle of each.
                #expect(try await feed.subscribe(after: 5, jobs: ["a", "b"]).first(9).map(\.position) == Array(6...14))
                #expect(
                    try await feed.subscribe(after: 5, jobs: ["a", "c"], types: [.progress]).first(3).map(\.position)
                        == [
                            7, 9, 11,
                        ])
            }
        }
    }

    /// An event is the same whether it comes from Postgres or through Redis.
    @Test func anEventIsTheSameByCatchUpAndLive() async throws {
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

    /// Data that is too large for a message arrives complete and in order.
    @Test func largeDataArrivesComplete() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                try await feed.whenLive(ledger)
                let start = try await ledger.store.head()
                async let all = feed.subscribe(after: Place(start)).first(41)
                async let ofJob = feed.subscribe(after: Place(start), jobs: ["a"]).first(41)
                async let ofJobs = feed.subscribe(after: Place(start), jobs: ["a", "b"]).first(41)
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

    /// Events that Redis delivers are not read from Postgres.
    @Test func liveEventsComeFromRedisAlone() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                try await feed.whenLive(ledger)
                let start = try await ledger.store.head()
                async let all = feed.subscribe(after: Place(start)).first(201)
                async let ofJob = feed.subscribe(after: Place(start), jobs: ["a"]).first(201)
                _ = try await eventually("subscribed") { feed.figures.subscribers == 2 ? true : nil }
                try await ledger.queue("a")
                for count in 1...200 { try await ledger.progress("a", count) }
                for events in try await [all, ofJob] { #expect(events.map(\.version) == Array(1...201)) }
                let figures = feed.figures
                // Some events were on their way while the connection was still subscribing.
                #expect(figures.refilledEvents < 50 && figures.deliveryLag.count >= 200, "\(figures)")
            }
        }
    }

    /// The very last message is lost. The head's beat reveals that to a subscription to everything,
    /// and the poll that follows the beat to a subscription to one job.
    @Test func theBeatRevealsALossAtTheEnd() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let proxy = try LossyProxy(target: redis.port, seed: 1)
            var through = redis
            through.address = .tcp(host: "127.0.0.1", port: proxy.port)
            // Otherwise a poll may come before the beat.
            try await ledger.withFeed(through, relayTo: redis, poll: .seconds(10)) { feed async throws in
                try await feed.whenLive(ledger)
                let start = try await ledger.store.head()
                let seen = Seen()
                let reading = Task {
                    for try await event in feed.subscribe(after: Place(start)) { await seen.add(event) }
                }
                proxy.set(LossyProxy.Faults(drop: 1000, channelSuffix: ":job:a"))
                try await ledger.queue("a")
                // The first events may be found before the subscription listens to Redis.
                var count = 1
                while feed.figures.gapsDetected == 0, count < 100 {
                    try await ledger.progress("a", count)
                    count += 1
                    try await seen.until(count)
                }
                #expect(proxy.counts.dropped >= 1 && feed.figures.gapsDetected >= 1)
                #expect(await seen.positions == Array(start + 1...start + Int64(count)))
                reading.cancel()
                _ = await reading.result
                let (dropped, end) = (proxy.counts.dropped, Place(start + Int64(count)))
                async let ofJob = feed.subscribe(after: end, jobs: ["a"]).first(1)
                _ = try await eventually("subscribed") { feed.figures.subscribers == 1 ? true : nil }
                try await ledger.progress("a", count)
                #expect(try await ofJob.map(\.version) == [Int32(count + 1)])
                #expect(feed.figures.isJoined && proxy.counts.dropped >= dropped)
            }
            proxy.stop()
        }
    }

    /// A slow consumer falls back to reading from Postgres. Memory is bounded, and other
    /// subscribers are not affected.
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
                async let quick = feed.subscribe(after: Place(start)).first(410)
                var iterator = feed.subscribe(after: Place(start), jobs: ["a"]).makeAsyncIterator()
                var taken: [FeedEvent] = []
                var overflows = 0
                for round in 0..<10 {
                    // The consumer has taken everything, so it is live. Now it pauses while more
                    // arrives than its buffer holds.
                    try await ledger.progress("a", 1)
                    taken.append(try #require(try await iterator.next()))
                    let received = feed.figures.deliveryLag.count
                    for count in 1...40 { try await ledger.progress("a", count) }
                    _ = try await eventually("received") {
                        feed.figures.deliveryLag.count >= received + 40 ? true : nil
                    }
                    overflows = feed.state.withLock {
                        $0.subscribers.byStream[StreamKey(.job, "a")]?.first?.tally.overflows ?? 0
                    }
                    while taken.count < (round + 1) * 41 {
                        let batch = try #require(try await iterator.nextBatch())
                        #expect(batch.count <= 40)
                        taken += batch
                    }
                }
                // On a busy machine it may fall behind for other reasons in some rounds.
                #expect(overflows >= 1)
                #expect(try await quick.count == 410)
                #expect(taken.map(\.position) == (1...410).map { start + $0 })
            }
        }
    }

    @Test func aJobsSubscriptionEndsWithTheJob() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                async let live = feed.subscribe(job: "a").first(9)
                try await ledger.queue("a")
                _ = try await ledger.store.append(NewEvent(type: "failed", data: #"{"error":"x"}"#), to: "a")
                #expect(try await live.map(\.version) == [1, 2])
                // The same for a late subscriber, and for one that filters out the last event.
                #expect(try await feed.subscribe(job: "a").first(9).map(\.version) == [1, 2])
                #expect(try await feed.subscribe(job: "a", types: [.queued]).first(9).map(\.version) == [1])
                #expect(try await feed.subscribe(after: 2, job: "a").first(9).isEmpty)
            }
        }
    }

    @Test func noPositionMeansTheEndOfTheLog() async throws {
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

    /// A thousand subscribers share one connection to Redis, which listens to one channel per job.
    @Test func manySubscribersShareOneConnection() async throws {
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
