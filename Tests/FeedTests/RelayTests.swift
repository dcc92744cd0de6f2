import EmbeddedServices
import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

@Suite struct RelayTests {
    /// The messages up to position `last`, in order of arrival.
    private static func messages(_ items: inout RedisSubscription.Iterator, upTo last: Position) async throws
        -> [Message]
    {
        var messages: [Message] = []
        while let item = await items.next() {
            if let message = try Message(item) { messages.append(message) }
            if messages.last?.position == String(last) { break }
        }
        return messages
    }

    private static func joined(_ items: inout RedisSubscription.Iterator) async {
        while let item = await items.next(), item != .joined {}
    }

    @Test func publishesInOrderAsCloudEvents() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            var items = try ledger.subscription(redis).makeAsyncIterator()
            await Self.joined(&items)
            let relay = Task { await ledger.relay(redis).run() }
            let odd = #"a "b" 🙂:*"#
            try await ledger.queue(odd)
            _ = try await ledger.store.append(
                NewEvent(
                    type: "progress", data: #"{"completed":1}"#,
                    metadata: #"{"actor":"ada","correlation_id":"c-1","free":[1]}"#,
                    occurredAt: Timestamp("2026-01-01T00:00:00.25Z")), to: odd)
            for count in 2...300 { try await ledger.progress(odd, count) }
            let large = #"{"completed":1,"message":"\#(String(repeating: "x", count: 70_000))"}"#
            _ = try await ledger.store.append(NewEvent(type: "progress", data: large), to: odd)

            let messages = try await Self.messages(&items, upTo: 302)
            #expect(messages.map(\.position) == (1...302).map(String.init))
            #expect(messages.map(\.streamversion) == Array(1...302))
            let second = messages[1]
            #expect(
                second.specversion == "1.0" && second.source == "/jobledger/\(ledger.name)" && second.subject == odd)
            #expect(
                second.type == "io.jobledger.job.progress" && second.actor == "ada" && second.correlationid == "c-1")
            #expect(
                second.time == "2026-01-01T00:00:00.25Z" && Timestamp(second.recordedtime) != nil
                    && second.datacontenttype == "application/json")
            #expect(messages[301].dataref?.hasPrefix("/v1/jobs/a%20%22b%22%20%F0%9F%99%82%3A%2A/events?") == true)
            #expect(messages[300].dataref == nil)
            // The checkpoint follows what is published.
            _ = try await eventually("the checkpoint follows") { try await ledger.relayPosition() == 302 ? true : nil }
            relay.cancel()
            await relay.value
        }
    }

    @Test func resumesFromItsCheckpoint() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            try await ledger.queue("a")
            let first = Task { await ledger.relay(redis).run() }
            _ = try await eventually("published") { try await ledger.relayPosition() == 1 ? true : nil }
            first.cancel()
            await first.value
            try await ledger.progress("a", 1)
            var items = try ledger.subscription(redis).makeAsyncIterator()
            await Self.joined(&items)
            let second = Task { await ledger.relay(redis).run() }
            #expect(try await Self.messages(&items, upTo: 2).map(\.position) == ["2"])
            second.cancel()
            await second.value
        }
    }

    @Test func announcesTheHeadWhenNothingHappens() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            try await ledger.queue("a")
            let relay = Task { await ledger.relay(redis).run() }
            _ = try await eventually("published") { try await ledger.relayPosition() == 1 ? true : nil }
            var items = try ledger.subscription(redis).makeAsyncIterator()
            await Self.joined(&items)
            let epoch = try await ledger.store.epoch().text
            for _ in 0..<2 {
                guard case .message(let channel, _, let payload)? = await items.next() else {
                    Issue.record("no beat")
                    break
                }
                #expect(channel == ledger.name.headChannel)
                #expect(
                    String(decoding: payload, as: UTF8.self).hasPrefix(#"{"position":"1","epoch":"\#(epoch)","mac":""#))
            }
            relay.cancel()
            await relay.value
        }
    }

    /// The Redis of the relay is found through Sentinels, and its master is killed. The relay goes
    /// on publishing on the new one, and a subscriber misses nothing.
    @Test func followsTheMasterOfRedis() async throws {
        try await TestRedisGroup.with { group in
            let redis = try group.redis
            try await TestLedger.with { ledger async throws in
                try await ledger.withFeed(redis, relayTo: redis) { feed async throws in
                    var events = feed.subscribe().makeAsyncIterator()
                    try await ledger.queue("a")
                    for count in 1...10 { try await ledger.progress("a", count) }
                    for position in 1...11 { #expect(try await events.next()?.position == Position(position)) }

                    try await group.servers[0].kill()
                    for count in 11...20 { try await ledger.progress("a", count) }
                    for position in 12...21 { #expect(try await events.next()?.position == Position(position)) }
                    _ = try await eventually("published on the new master") {
                        try await ledger.relayPosition() == 21 ? true : nil
                    }
                    #expect(try await group.roles() == [nil, "master"])
                }
            }
        }
    }

    /// Redis is killed and stays down while events are appended. When it is back, the relay
    /// publishes everything, in order, from where it was.
    @Test func waitsForRedis() async throws {
        let server = try await PrivateRedis.start(directory: TestServers.directory("relay-redis"))
        let redis = try RedisConfiguration(url: server.url)
        try await TestLedger.with { ledger async throws in
            // No other relay competes, so a renewal that comes late loses nothing.
            let relay = Task { await ledger.relay(redis, leaseTimes: .brief).run() }
            try await ledger.queue("a")
            _ = try await eventually("published") { try await ledger.relayPosition() == 1 ? true : nil }
            try await server.kill()
            for count in 1...200 { try await ledger.progress("a", count) }
            // Redis is down for longer than a lease lasts unrenewed.
            let expiry = try await ledger.store.pool.withConnection {
                try await $0.query("SELECT expires_at::text FROM leases WHERE name = 'relay'").only()
                    .decode(0, as: String.self)
            }
            _ = try await eventually("the relay holds its lease beyond \(expiry)") {
                try await ledger.store.pool.withConnection {
                    try await $0.query(
                        """
                        SELECT clock_timestamp() > $1::text::timestamptz AND expires_at > clock_timestamp()
                          FROM leases WHERE name = 'relay'
                        """, expiry
                    ).only().decode(0, as: Bool.self)
                } ? true : nil
            }
            #expect(try await ledger.relayPosition() == 1)
            try await server.restart()
            var items = try ledger.subscription(redis).makeAsyncIterator()
            await Self.joined(&items)
            _ = try await eventually("published") { try await ledger.relayPosition() == 201 ? true : nil }
            try await ledger.progress("a", 201)
            let positions = try await Self.messages(&items, upTo: 202).compactMap { Int($0.position) }
            #expect(positions == Array(positions[0]...202), "out of order or with a gap")
            relay.cancel()
            await relay.value
        }
        try await server.stop()
    }

    /// Of two relays exactly one publishes. When it stops, the other takes over, and the lease
    /// changes hands once. When connections are killed, every event is still published, in order.
    @Test func oneOfSeveralPublishes() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            var items = try ledger.subscription(redis).makeAsyncIterator()
            await Self.joined(&items)
            let first = Task { await ledger.relay(redis, leaseTimes: .kept).run() }
            try await ledger.queue("a")
            let before: LeaseHolding = try await eventually("a relay is at work") {
                try await ledger.holding(of: Relay.lease)
            }
            let second = Task { await ledger.relay(redis, leaseTimes: .kept).run() }
            for count in 1...20 { try await ledger.progress("a", count) }
            // Each event arrives once, so only one of the two publishes.
            #expect(try await Self.messages(&items, upTo: 21).compactMap { Int($0.position) } == Array(1...21))
            #expect(try await ledger.holding(of: Relay.lease) == before)
            first.cancel()
            await first.value
            for count in 21...50 { try await ledger.progress("a", count) }
            // What the first published after its last checkpoint may come again.
            let taken = try await Self.messages(&items, upTo: 51).compactMap { Int($0.position) }
            #expect(taken.drop { $0 <= 21 } == Array(22...51)[...])
            let after = try #require(try await ledger.holding(of: Relay.lease))
            #expect(after.holder != before.holder && after.fence == before.fence + 1)
            let killer = try await ledger.connect()
            for count in 51...200 {
                try await ledger.progress("a", count)
                if count.isMultiple(of: 50) {
                    try await killer.query(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
                        "jobledger relay \(ledger.name)")
                }
            }
            await killer.close()
            let positions = try await Self.messages(&items, upTo: 201).compactMap { Int($0.position) }
            #expect(Set(positions.filter { $0 > 51 }) == Set(52...201), "lost")
            #expect(zip(positions, positions.dropFirst()).allSatisfy { $1 <= $0 + 1 }, "a gap")
            second.cancel()
            await second.value
        }
    }

    /// A new epoch begins while the relay runs: its beats follow, and no event of the new epoch is
    /// published under the old.
    @Test func followsTheEpoch() async throws {
        struct Beat: Decodable {
            var position: String
            var epoch: String
        }
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            var items = try ledger.subscription(redis).makeAsyncIterator()
            await Self.joined(&items)
            let relay = Task { await ledger.relay(redis).run() }
            try await ledger.queue("a")
            _ = try await Self.messages(&items, upTo: 1)
            let begun = try await ledger.store.pool.withConnection {
                try await $0.query("SELECT begin_epoch()").only().decode(0, as: EventID.self)
            }
            try await ledger.progress("a", 1)
            var published: Set<String> = []
            while let item = await items.next() {
                if let message = try Message(item) { published.insert(message.position) }
                guard case .message(ledger.name.headChannel, _, let payload) = item else { continue }
                let beat = try JSONDecoder().decode(Beat.self, from: Data(payload))
                if beat.epoch == begun.text, beat.position == "2" { break }
                #expect(beat.position == "1" || beat.epoch == begun.text, "an event of the new epoch under the old")
            }
            #expect(published.contains("2"))
            relay.cancel()
            await relay.value
        }
    }
}
