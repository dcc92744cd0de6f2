import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Redis

extension TestLedger {
    static var logger: Logger {
        var logger = Logger(label: "test") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .critical
        return logger
    }

    func relay(_ redis: RedisConfiguration, window: Int = 50, leaseTimes: LeaseTimes = .standard) -> Relay {
        Relay(store: store, url: url, redis: redis, window: window, leaseTimes: leaseTimes, logger: Self.logger)
    }

    /// Runs `body` beside a feed, and beside a relay if `relayed` is given.
    func withFeed<Value: Sendable>(
        _ redis: RedisConfiguration?, relayTo relayed: RedisConfiguration? = nil, poll: Duration = .milliseconds(250),
        bufferLimits: Feed.BufferLimits = Feed.BufferLimits(), isolation actor: isolated (any Actor)? = #isolation,
        _ body: (Feed) async throws -> Value
    ) async throws -> Value {
        try await Feed.with(store: store, redis: redis, poll: poll, bufferLimits: bufferLimits, logger: Self.logger) {
            feed async throws in
            let relay = Task { if let relayed { await self.relay(relayed).run() } }
            do {
                let value = try await body(feed)
                relay.cancel()
                await relay.value
                return value
            } catch {
                relay.cancel()
                await relay.value
                throw error
            }
        }
    }

    func subscription(_ redis: RedisConfiguration) throws -> RedisSubscription {
        try RedisSubscription(redis, channels: [name.headChannel], patterns: [name.everyStream])
    }

    func relayPosition() async throws -> Position {
        try await store.pool.withConnection {
            try await $0.query("SELECT coalesce(max(position), 0) FROM checkpoints WHERE reader = $1", Relay.reader)
                .only()
                .decode(0)
        }
    }
}

/// The fields of a published message that tests read.
struct Message: Decodable {
    var specversion: String
    var id: String
    var source: String
    var type: String
    var subject: String
    var position: String
    var streamversion: Int
    var recordedtime: String
    var time: String
    var actor: String?
    var correlationid: String?
    var dataref: String?
    var datacontenttype: String?

    init?(_ item: RedisSubscription.Item) throws {
        guard case .message(let channel, _, let payload) = item, channel.text.contains(":job:") else { return nil }
        self = try JSONDecoder().decode(Message.self, from: Data(payload))
    }
}

/// The events that a test's subscriber received.
actor Seen {
    private(set) var events: [FeedEvent] = []
    var positions: [Position] { events.map(\.position) }
    func add(_ event: FeedEvent) { events.append(event) }
    func add(_ batch: [FeedEvent]) { events += batch }

    /// Waits until at least `count` events have arrived.
    nonisolated func until(_ count: Int, within limit: Duration = .seconds(30)) async throws {
        _ = try await eventually(within: limit, "\(count) events are seen") { await events.count >= count ? true : nil }
    }
}

extension Subscription {
    /// The next `count` events, or fewer if the sequence ends first.
    func first(_ count: Int) async throws -> [FeedEvent] {
        var events: [FeedEvent] = []
        if count == 0 { return events }
        for try await event in self {
            events.append(event)
            if events.count == count { break }
        }
        return events
    }
}

extension Feed {
    /// Waits until events arrive through Redis.
    func whenLive(_ ledger: TestLedger) async throws {
        try await ledger.queue("first of all")
        let listening = Task { for try await _ in subscribe() {} }
        _ = try await eventually("events arrive through Redis") {
            try await ledger.progress("first of all", 1)
            return figures.deliveryLag.count > 0 ? true : nil
        }
        listening.cancel()
        _ = await listening.result
    }
}

extension RedisConfiguration {
    var port: UInt16 { if case .server(.tcp(_, let port)) = address { port } else { 0 } }
}
