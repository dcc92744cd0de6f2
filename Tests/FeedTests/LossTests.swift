import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// The relay and the feeds tell the ledger what it has lost of what they had.
struct LossTests {
    private static func losses(_ ledger: TestLedger) async throws -> [String] {
        try await ledger.store.knownLosses().map { "\($0.reader) \($0.place) \($0.shared)" }
    }

    /// Whether an append follows at once or the shorter log is seen first.
    @Test(arguments: [true, false]) func theRelayTells(appendsAtOnce: Bool) async throws {
        try await TestLedger.with { ledger in
            let redis = try await TestServers.shared.redis()
            let relay = Task { await ledger.relay(redis, leaseTimes: .brief).run() }
            try await ledger.queue("a", total: 50)
            for number in 1...9 { try await ledger.progress("a", number) }
            _ = try await eventually("published") { try await ledger.relayPosition() == 10 ? true : nil }
            let old = try await ledger.epochDigits()
            try await ledger.lose(after: 6)
            if appendsAtOnce { for number in 20...29 { try await ledger.progress("a", number) } }
            _ = try await eventually("the loss is noted") {
                try await Self.losses(ledger) == ["relay 10.\(old) 6"] ? true : nil
            }
            relay.cancel()
            await relay.value
        }
    }

    @Test(arguments: [true, false]) func aFeedTells(appendsAtOnce: Bool) async throws {
        try await TestLedger.with { ledger in
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed in
                try await ledger.queue("a", total: 50)
                for number in 1...9 { try await ledger.progress("a", number) }
                let seen = Seen()
                let reading = Task { for try await event in feed.subscribe() { await seen.add(event) } }
                try await seen.until(10)
                // The feed has asked for the head since.
                try await ledger.progress("a", 10)
                try await seen.until(11)
                let old = try await ledger.epochDigits()
                try await ledger.lose(after: 6, beginningEpoch: appendsAtOnce)
                if appendsAtOnce {
                    for number in 20...29 { try await ledger.progress("a", number) }
                } else {
                    await #expect(throws: Divergence.self) { try await reading.value }
                    try await ledger.beginEpoch()
                    let more = Task { for try await _ in feed.subscribe() {} }
                    defer { more.cancel() }
                    _ = try await eventually("the loss is noted") {
                        try await Self.losses(ledger).first?.hasSuffix(" 6") == true ? true : nil
                    }
                }
                _ = try await eventually("the loss is noted") {
                    let losses = try await Self.losses(ledger)
                    return losses == ["feed 11.\(old) 6"] ? true : nil
                }
                reading.cancel()
                _ = await reading.result
            }
        }
    }
}
