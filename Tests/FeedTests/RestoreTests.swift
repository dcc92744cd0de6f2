import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

@testable import Feed

/// A ledger that was restored from a snapshot: its timeline is the same, and so is its epoch, until
/// somebody notices that the events are others.
struct RestoreTests {
    /// Others have appended before anybody could see a shorter log. The relay notices it, and
    /// subscribers are told the exact place.
    @Test func aRelayNoticesOtherEvents() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let relay = Task { await ledger.relay(redis, leaseTimes: .brief).run() }
            try await ledger.withFeed(redis) { feed in
                try await ledger.queue("a", total: 50)
                for number in 1...9 { try await ledger.progress("a", number) }
                let seen = Seen()
                let reading = Task { for try await event in feed.subscribe() { await seen.add(event) } }
                try await seen.until(10)
                _ = try await eventually("published") { try await ledger.relayPosition() == 10 ? true : nil }
                let old = try await ledger.epochDigits()

                try await ledger.lose(after: 6, beginningEpoch: false, appending: 10)
                let divergence = await #expect(throws: Divergence.self) { try await reading.value }
                // It may have had some of the events that continue the old ones' numbers.
                #expect(divergence?.shared.position == 6 && divergence!.place.position >= 10, "\(divergence!)")
                let losses = try await eventually("the relay's loss is noted") {
                    let losses = try await ledger.store.knownLosses().filter { $0.reader == "relay" }
                    return losses.isEmpty ? nil : losses
                }
                #expect(losses.map(\.shared) == [6] && losses[0].place.epoch == old && losses[0].place.position >= 10)
                #expect(try await ledger.epochStarts() == [1, 7])

                // The way on.
                try await ledger.queue("live")
                let rest = try await feed.subscribe(after: try #require(divergence).shared).first(11)
                #expect(rest.map(\.position) == Array(7...17))
            }
            relay.cancel()
            await relay.value
        }
    }

    /// The log is shorter, and nobody appends: its next events are in another epoch already.
    @Test func aRelayNoticesAShorterLog() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let relay = Task { await ledger.relay(redis, leaseTimes: .brief).run() }
            for job in 1...10 { try await ledger.queue(job) }
            _ = try await eventually("published") { try await ledger.relayPosition() == 10 ? true : nil }
            try await ledger.lose(after: 6, beginningEpoch: false)
            _ = try await eventually("an epoch begins") {
                try await ledger.epochStarts() == [1, 7] ? true : nil
            }
            relay.cancel()
            await relay.value
        }
    }

    /// The relay was stopped for the restore, as everything usually is. The next one knows from
    /// Redis what was published.
    @Test(arguments: [0, 10])
    func aRelayThatStartsAfterwardsNoticesIt(appending others: Int) async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            for job in 1...10 { try await ledger.queue(job) }
            try await ledger.relayed(redis, upTo: 10)
            let old = try await ledger.epochDigits()
            try await ledger.lose(after: 6, beginningEpoch: false, appending: others)
            let relay = Task { await ledger.relay(redis, leaseTimes: .brief).run() }
            let losses = try await eventually("the relay's loss is noted") {
                let losses = try await ledger.store.knownLosses().filter { $0.reader == "relay" }
                return losses.isEmpty ? nil : losses
            }
            #expect(losses.map(\.shared) == [6] && losses.map(\.place) == [Place(10, epoch: old)])
            #expect(try await ledger.epochStarts() == [1, 7])
            try await ledger.queue("afterwards")
            let head = try await ledger.store.head()
            _ = try await eventually("published") { try await ledger.relayPosition() == head ? true : nil }
            relay.cancel()
            await relay.value

            // The same relays again: nothing has changed.
            try await ledger.relayed(redis, upTo: head)
            #expect(try await ledger.epochStarts() == [1, 7])
        }
    }

    /// A relay knows the ids of what others have published before it started, so that the place is
    /// exact.
    @Test func aRelayKnowsWhatWasPublishedBefore() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            for job in 1...10 { try await ledger.queue(job) }
            try await ledger.relayed(redis, upTo: 10)
            try await RedisClient(redis).command("DEL", RelayMemory.key(of: ledger.name))
            let relay = Task { await ledger.relay(redis, leaseTimes: .brief).run() }
            for job in 11...12 { try await ledger.queue(job) }
            _ = try await eventually("published") { try await ledger.relayPosition() == 12 ? true : nil }
            try await ledger.lose(after: 6, beginningEpoch: false, appending: 20)
            _ = try await eventually("an epoch begins") {
                try await ledger.epochStarts() == [1, 7] ? true : nil
            }
            relay.cancel()
            await relay.value
        }
    }

    /// Whatever is under the key in Redis, only what this ledger's relays wrote counts.
    @Test func othersRecordsAreNotBelieved() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let client = RedisClient(redis)
            let key = RelayMemory.key(of: ledger.name)
            for job in 1...5 { try await ledger.queue(job) }
            let code = try await ledger.store.pool.withConnection {
                try await MessageCode.load(of: ledger.name, on: $0)
            }
            let long = [UInt8](repeating: UInt8(ascii: "["), count: 5 << 20)
            let others = PublishedRecord(
                epoch: code.epoch, events: (1...19).map { .init(position: $0, id: EventID.version7()) })
            let stranger = MessageCode(secret: [1, 2, 3], ledger: ledger.name, epoch: code.epoch)
            var altered = others.signed(code)
            altered[altered.firstIndex(of: UInt8(ascii: "1"))!] = UInt8(ascii: "2")
            for (number, record) in [
                Array("".utf8), Array("x".utf8), Array(#"{"epoch":1}"#.utf8), others.signed(stranger), altered, long,
            ].enumerated() {
                try await client.command("SET", key, record)
                try await ledger.queue("after record \(number)")
                try await ledger.relayed(redis, upTo: try await ledger.store.head())
                #expect(try await ledger.epochStarts() == [1])
            }
            // Another kind of value.
            try await client.command("DEL", key)
            try await client.command("LPUSH", key, "x")
            try await ledger.queue("list")
            let relay = Task { await ledger.relay(redis, leaseTimes: .brief).run() }
            let head = try await ledger.store.head()
            _ = try await eventually("published") { try await ledger.relayPosition() == head ? true : nil }
            relay.cancel()
            await relay.value
            #expect(try await ledger.epochStarts() == [1])
            try await client.command("DEL", key)
        }
    }

    /// A genuine record of an earlier time, which somebody kept and put back, changes nothing.
    @Test func anOldRecordChangesNothing() async throws {
        try await TestLedger.with { ledger async throws in
            let redis = try await TestServers.shared.redis()
            let client = RedisClient(redis)
            let key = RelayMemory.key(of: ledger.name)
            for job in 1...10 { try await ledger.queue(job) }
            try await ledger.relayed(redis, upTo: 10)
            let kept = try #require(try await client.command("GET", key).bytes)
            try await ledger.lose(after: 6, beginningEpoch: true, appending: 10)
            try await ledger.relayed(redis, upTo: 16)
            try await client.command("SET", key, kept)
            try await ledger.queue("more")
            try await ledger.relayed(redis, upTo: 17)
            #expect(try await ledger.epochStarts() == [1, 7])
        }
    }

    @Test func whatIsKeptInRedisIsBounded() throws {
        let code = MessageCode(secret: [7], ledger: try #require(LedgerName("jobledger")), epoch: EventID.version7())
        for most in [100, 10_000] {
            var events = PublishedEvents(most: most)
            for start in stride(from: 0, to: 100_000, by: 500) {
                events.add((0..<500).map { _ in EventID.version7() }, upTo: Int64(start + 500))
            }
            let excerpt = events.excerpt
            #expect(excerpt.count <= 1000 && excerpt.map(\.position) == excerpt.map(\.position).sorted())
            #expect(excerpt.suffix(250).map(\.position) == events.all.suffix(250).map(\.position))
            let record = PublishedRecord(epoch: code.epoch, events: excerpt)
            let bytes = record.signed(code)
            #expect(bytes.count < MessageCode.longestMessage / 8)
            #expect(PublishedRecord(verifying: bytes, code) == record)
            #expect(PublishedRecord(verifying: bytes, code.of(EventID.version7())) == record)
            #expect(PublishedEvents(remembering: excerpt).unchecked.count == excerpt.count)
        }
        #expect(PublishedEvents().excerpt == [])
    }

    /// What a relay remembers is bounded: all of the last events, and some of those before.
    @Test func publishedEventsAreRememberedWithinBounds() throws {
        var events = PublishedEvents(most: 100)
        let ids = (0..<5_000).map { _ in EventID.version7() }
        for start in stride(from: 0, to: 5_000, by: 50) {
            events.add(Array(ids[start..<start + 50]), upTo: Int64(start + 50))
        }
        // A relay repeats what it had published.
        events.add(Array(ids[4_900..<5_000]), upTo: 5_000)
        #expect(events.last == PublishedEvents.Event(position: 5_000, id: ids[4_999]))
        let all = events.all
        #expect(all.map(\.position) == all.map(\.position).sorted() && Set(all.map(\.position)).count == all.count)
        #expect(all.count <= 400 && all.suffix(100).map(\.position) == Array(4_901...5_000))
        #expect(all.allSatisfy { ids[Int($0.position) - 1] == $0.id })
        #expect(events.samples.count >= 100 && events.samples.allSatisfy { $0.position % 10 == 0 })
        #expect(events.unchecked.count <= 1_001 && events.unchecked.first == events.recent.first)
        events.check(upTo: 5_000)
        #expect(events.unchecked == [try #require(events.last)])
        events.add(ids.suffix(10).map { _ in EventID.version7() }, upTo: 5_010)
        #expect(events.unchecked.map(\.position) == Array(5_000...5_010))
        events.forget(after: 4_000)
        #expect(events.last.map { $0.position <= 4_000 } == true)
        #expect(events.unchecked.map(\.position) == (events.recent.last.map { [$0.position] } ?? []))
        events.forget(after: 0)
        #expect(events.last == nil && events.all.isEmpty)
    }
}

extension TestLedger {
    /// Runs a relay until it has published up to a position, and has written that down in Redis.
    fileprivate func relayed(_ redis: RedisConfiguration, upTo position: Position) async throws {
        let client = RedisClient(redis)
        let relay = Task { await self.relay(redis, leaseTimes: .brief).run() }
        _ = try await eventually("published up to \(position)") {
            try await relayPosition() == position ? true : nil
        }
        let code = try await store.pool.withConnection { try await MessageCode.load(of: name, on: $0) }
        _ = try await eventually("the record names \(position)") {
            let bytes = try await client.command("GET", RelayMemory.key(of: name)).bytes ?? []
            return PublishedRecord(verifying: bytes, code)?.events.last?.position == position ? true : nil
        }
        relay.cancel()
        await relay.value
    }
}
