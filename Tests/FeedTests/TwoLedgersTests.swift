import EventStore
import Feed
import LedgerCore
import LedgerTesting
import Redis
import Testing

/// Several ledgers in one database and on one Redis: each has its own relay, channels and
/// subscribers.
@Suite struct TwoLedgersTests {
    @Test func publishOnTheirOwnChannels() async throws {
        try await TestLedger.with { one async throws in
            try await TestLedger.with { other async throws in
                let redis = try await TestServers.shared.redis()
                // One connection receives both, so that it also sees how their messages interleave.
                let both = [one, other]
                let subscription = try RedisSubscription(
                    redis, channels: both.map(\.name.headChannel), patterns: both.map(\.name.everyStream))
                var items = subscription.makeAsyncIterator()
                while let item = await items.next(), item != .joined {}
                // Both relays work, for each ledger has a lease of its own.
                let relays = both.map { ledger in Task { await ledger.relay(redis).run() } }
                try await one.queue("a")
                for count in 1...20 { try await one.progress("a", count) }
                for job in 1...20 { try await other.queue("job \(job)") }

                var received: [String: [Message]] = [:]
                while received[one.name.text, default: []].count < 21
                    || received[other.name.text, default: []].count < 20
                {
                    guard let item = await items.next() else { break }
                    guard case .message(let channel, _, _) = item, let message = try Message(item) else { continue }
                    received[String(channel.text.prefix { $0 != ":" }), default: []].append(message)
                }
                for (ledger, count) in [(one, 21), (other, 20)] {
                    let messages = received[ledger.name.text] ?? []
                    #expect(messages.map(\.position) == (1...count).map(String.init))
                    #expect(messages.allSatisfy { $0.source == "/jobledger/\(ledger.name)" })
                }
                #expect(received[other.name.text]?.allSatisfy { $0.subject.hasPrefix("job ") } == true)
                for (ledger, position) in [(one, Position(21)), (other, 20)] {
                    _ = try await eventually("the checkpoint is at \(position)") {
                        try await ledger.relayPosition() == position ? true : nil
                    }
                }
                for relay in relays {
                    relay.cancel()
                    await relay.value
                }
            }
        }
    }

    /// A subscriber gets its own ledger's events, whatever else Redis carries.
    @Test func areFollowedSeparately() async throws {
        try await TestLedger.with { one async throws in
            try await TestLedger.with { other async throws in
                let redis = try await TestServers.shared.redis()
                try await one.withFeed(redis, relayTo: redis) { feed async throws in
                    try await other.withFeed(redis, relayTo: redis) { otherFeed async throws in
                        async let first = feed.subscribe().first(10)
                        async let second = otherFeed.subscribe().first(10)
                        for number in 1...10 {
                            try await one.queue("one \(number)")
                            try await other.queue("other \(number)")
                        }
                        #expect(try await first.map(\.job) == (1...10).map { JobID("one \($0)") })
                        #expect(try await second.map(\.job) == (1...10).map { JobID("other \($0)") })
                    }
                }
            }
        }
    }
}
