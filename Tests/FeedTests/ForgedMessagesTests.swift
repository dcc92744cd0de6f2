import BlockingIO
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

@testable import Feed

/// Somebody else publishes on the ledger's Redis, or controls the connection to it. Subscribers get
/// what Postgres has, and nothing else.
@Suite(.timeLimit(.minutes(5))) struct ForgedMessagesTests {
    /// An event as the relay writes it, but without its code.
    private static func event(_ job: String, position: String, version: Int = 1, type: String = "progress") -> String {
        """
        {"specversion":"1.0","id":"\(EventID.version7().text)","source":"/jobledger/x",\
        "type":"io.jobledger.job.\(type)","subject":"\(job)","time":"2026-01-01T00:00:00Z",\
        "position":"\(position)","streamversion":\(version),"recordedtime":"2026-01-01T00:00:00Z",\
        "datacontenttype":"application/json","data":{"completed":666}}
        """
    }

    private static func channel(_ ledger: TestLedger, ofJob job: String) -> String { "\(ledger.name):job:\(job)" }
    private static func head(_ ledger: TestLedger) -> String { "\(ledger.name):head" }

    private static func publish(_ message: String, to channel: String, _ client: RedisClient) async throws {
        _ = try await client.command("PUBLISH", channel, message)
    }

    /// Messages that no relay sends: events at the next position, at one far ahead and at
    /// impossible ones; ends of jobs; beats from the future; and what is no event at all. Each
    /// comes without a code, and with something that looks like one.
    private static func nonsense(_ ledger: TestLedger, next: Position, version: Int) async throws -> [(String, String)]
    {
        let (job, head) = (channel(ledger, ofJob: "a"), head(ledger))
        let epoch = try await ledger.store.epoch().text
        let numbers = [
            "\(next)", "\(next + 1)", "9223372036854775807", "-9223372036854775808", "0", "-1", "18446744073709551616",
            "+5", "٣",
            "",
        ]
        var messages: [(String, String)] = []
        for number in numbers {
            for type in ["progress", "finished"] {
                messages.append((job, event("a", position: number, version: version, type: type)))
            }
            messages.append((head, #"{"position":"\#(number)","epoch":"\#(epoch)"}"#))
        }
        messages += [
            "", "{", "null", "[1]", "{}", #"{"position":1}"#, String(repeating: "[", count: 100_000),
            String(repeating: "x", count: 3 << 20),
            "\u{0}", #"{"mac":"00000000000000000000000000000000"}"#,
        ].flatMap { [(job, $0), (head, $0)] }
        let zeros = #","mac":"00000000000000000000000000000000"}"#
        return messages + messages.filter { $0.1.hasSuffix("}") }.map { ($0.0, String($0.1.dropLast()) + zeros) }
    }

    @Test func forgedMessagesAreNotDelivered() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let client = RedisClient(redis)
            try await ledger.queue("a")
            try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                let seen = [Seen(), Seen(), Seen()]
                let subscriptions = [feed.subscribe(), feed.subscribe(job: "a"), feed.subscribe(jobs: ["a", "b"])]
                let following = zip(subscriptions, seen).map { subscription, seen in
                    Task { for try await event in subscription { await seen.add(event) } }
                }
                for seen in seen { try await seen.until(1) }
                _ = try await eventually("live") {
                    try await ledger.progress("a", 1)
                    return feed.figures.deliveryLag.count > 0 ? true : nil
                }
                for round in 0..<3 {
                    let head = try await ledger.store.head()
                    for seen in seen { try await seen.until(Int(head)) }
                    let before = feed.figures.rejectedMessages
                    let messages = try await Self.nonsense(ledger, next: head + 1, version: Int(head) + 1)
                    for (channel, message) in messages { try await Self.publish(message, to: channel, client) }
                    // All of them arrive and are dropped.
                    _ = try await eventually("all are dropped") {
                        feed.figures.rejectedMessages >= before + messages.count ? true : nil
                    }
                    for count in 1...5 { try await ledger.progress("a", 100 * (round + 1) + count) }
                    for seen in seen { try await seen.until(Int(head) + 5) }
                }
                let head = try await ledger.store.head()
                let truth = try await feed.subscribe().first(Int(head))
                for seen in seen { #expect(await seen.events == truth) }
                for task in following {
                    task.cancel()
                    _ = await task.result
                }
            }
        }
    }

    /// Messages of the relay that somebody repeats: on their own channel, on another job's, on the
    /// head's, in another ledger, in another epoch.
    @Test func repeatedMessagesAreNotDeliveredAgain() async throws {
        try await TestLedger.with { ledger async throws in
            try await TestLedger.with { neighbour async throws in
                let redis = try await TestServers.shared.redis()
                let client = RedisClient(redis)
                for ledger in [ledger, neighbour] { try await ledger.queue("a") }
                let recorded = try await Self.recorded(ledger, redis, count: 9)
                try await neighbour.withFeed(redis, relayTo: redis) { other async throws in
                    try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                        let seen = [Seen(), Seen()]
                        let following = zip([feed, other], seen).map { feed, seen in
                            Task { for try await event in feed.subscribe() { await seen.add(event) } }
                        }
                        let head = try await ledger.store.head()
                        try await seen[0].until(Int(head))
                        try await seen[1].until(1)
                        let channels = [ledger, neighbour].flatMap {
                            [Self.channel($0, ofJob: "a"), Self.channel($0, ofJob: "b"), Self.head($0)]
                        }
                        // The neighbour drops everything, for the code is wrong under its key. This
                        // ledger's feed drops what is no event, or no beat.
                        _ = try await eventually("they arrive and are dropped") {
                            for message in recorded.reversed() {
                                for channel in channels { try await Self.publish(message, to: channel, client) }
                            }
                            return other.figures.rejectedMessages >= 3 * recorded.count
                                && feed.figures.rejectedMessages > 0
                                ? true : nil
                        }
                        try await ledger.progress("a", 99)
                        try await neighbour.progress("a", 99)
                        try await seen[0].until(Int(head) + 1)
                        try await seen[1].until(2)
                        #expect(await seen[0].positions == Array(1...head + 1))
                        #expect(await seen[1].positions == [1, 2])
                        for task in following {
                            task.cancel()
                            _ = await task.result
                        }
                    }
                }
                // The same in another epoch of this ledger, which has not reached those numbers
                // yet.
                _ = try await ledger.store.pool.withConnection { try await $0.query("SELECT begin_epoch()") }
                try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                    try await feed.whenLive(ledger)
                    let (before, head) = (feed.figures.rejectedMessages, try await ledger.store.head())
                    async let next = feed.subscribe(after: Place(head)).first(1)
                    _ = try await eventually("they arrive and are dropped") {
                        for message in recorded {
                            try await Self.publish(message, to: Self.channel(ledger, ofJob: "a"), client)
                        }
                        return feed.figures.rejectedMessages >= before + recorded.count ? true : nil
                    }
                    let appended = try await ledger.progress("a", 100)
                    #expect(try await next.map(\.position) == [appended.position])
                }
            }
        }
    }

    /// At least `count` of the relay's messages, events and beats, as any listener can record them.
    private static func recorded(_ ledger: TestLedger, _ redis: RedisConfiguration, count: Int) async throws -> [String]
    {
        let relay = Task { await ledger.relay(redis).run() }
        var items = try ledger.subscription(redis).makeAsyncIterator()
        var messages: [String] = []
        while messages.count < count, let item = await items.next() {
            if item == .joined { for count in 1...5 { try await ledger.progress("a", count) } }
            if case .message(_, _, let payload) = item { messages.append(String(decoding: payload, as: UTF8.self)) }
        }
        relay.cancel()
        await relay.value
        return messages
    }

    /// Somebody holds back every message and repeats an old beat, so that all seems well.
    /// Subscribers get what Postgres has.
    @Test(
        arguments: [
            { $0.subscribe() }, { $0.subscribe(jobs: ["a"]) }, { $0.subscribe(jobs: ["a", "b"]) },
        ] as [@Sendable (Feed) -> Subscription])
    func heldBackEventsAreReadFromPostgres(_ subscription: @Sendable (Feed) -> Subscription) async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let client = RedisClient(redis)
            try await ledger.queue("a")
            let beat = try #require(
                try await Self.recorded(ledger, redis, count: 9).last { $0.hasPrefix(#"{"position":"#) })
            // There is no relay from here on: only the old beat arrives.
            let repeating = Task {
                while !Task.isCancelled {
                    try await Self.publish(beat, to: Self.head(ledger), client)
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
            try await ledger.withFeed(redis) { feed async throws in
                let (seen, events) = (Seen(), subscription(feed))
                let following = Task { for try await event in events { await seen.add(event) } }
                try await seen.until(Int(try await ledger.store.head()))
                _ = try await eventually("the beat is received") {
                    feed.state.withLock { $0.receivedSpan.announcedHead(at: .now) } != nil ? true : nil
                }
                for count in 10...20 {
                    let appended = try await ledger.progress("a", count)
                    try await seen.until(Int(appended.position))
                }
                #expect(
                    feed.state.withLock { $0.receivedSpan.announcedHead(at: .now) } != nil
                        && feed.figures.rejectedMessages == 0)
                following.cancel()
                _ = await following.result
            }
            repeating.cancel()
            _ = await repeating.result
        }
    }

    /// The owner changes the secret while everything runs. Relay and feed find the new one, and
    /// events arrive through Redis again.
    @Test func aNewSecretIsFound() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                try await feed.whenLive(ledger)
                let start = try await ledger.store.head()
                let seen = Seen()
                let following = Task {
                    for try await event in feed.subscribe(after: Place(start)) { await seen.add(event) }
                }
                _ = try await ledger.store.pool.withConnection { try await $0.query("SELECT renew_feed_key()") }
                let secret = try await ledger.store.pool.withConnection {
                    try await $0.query("SELECT secret FROM feed_key").only().decode(0, as: PostgresBytes.self).bytes
                }
                let epoch = try await ledger.store.epoch()
                _ = try await eventually("the feed has the new secret") {
                    feed.state.withLock { $0.polling.code?.isOf(secret, epoch) } == true ? true : nil
                }
                let received = feed.figures.deliveryLag.count
                _ = try await eventually("events arrive through Redis again") {
                    try await ledger.progress("first of all", 1)
                    return feed.figures.deliveryLag.count > received ? true : nil
                }
                let head = try await ledger.store.head()
                try await seen.until(Int(head - start))
                #expect(await seen.positions == Array(start + 1...head))
                following.cancel()
                _ = await following.result
            }
        }
    }

    /// The Redis users that docs/security.md creates are enough to run everything, and the reader
    /// cannot publish.
    @Test func theRedisUsersOfTheDocsAreEnough() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let admin = RedisClient(redis)
            let page = Repository.root.appending(path: "docs/security.md")
            let lines = try String(contentsOf: page, encoding: .utf8).split(separator: "\n")
                .filter { $0.hasPrefix("ACL SETUSER relay") || $0.hasPrefix("ACL SETUSER reader") }
            #expect(lines.count == 4)
            for line in lines {
                let words = line.replacing("jobledger:", with: "\(ledger.name):").split(separator: " ").map { word in
                    word == "relay" || word == "reader" ? "\(ledger.name)_\(word)" : String(word)
                }
                _ = try await admin.send([RedisCommand(arguments: words.map { Array($0.utf8) })])[0].get()
            }
            func user(_ name: String) throws -> RedisConfiguration {
                var configuration = try RedisConfiguration(url: "redis://\(ledger.name)_\(name):SECRET@localhost")
                configuration.address = redis.address
                return configuration
            }
            try await ledger.withFeed(try user("reader"), relayTo: try user("relay")) { feed async throws in
                try await feed.whenLive(ledger)
                #expect(feed.figures.isJoined && feed.figures.rejectedMessages == 0)
            }
            await #expect(throws: RedisError.self) {
                try await Self.publish("{}", to: Self.head(ledger), RedisClient(try user("reader")))
            }
        }
    }
}
