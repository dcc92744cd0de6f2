import Diagnostics
import Dispatch
package import EventStore
import Feed
import Foundation
import LedgerCore
import Logging
package import Redis

/// The receiver of the latency and relay rows, in its own process.
package struct BenchSubscriber: Sendable {
    package enum Way: String, Sendable, CaseIterable {
        /// Receives a number of messages without parsing them.
        case count
        /// Follows the log with the library, and reports when each event arrived.
        case follow
        /// The same with a plain subscription.
        case plain
    }

    private let store: EventStore
    private let redis: RedisConfiguration

    package init(store: EventStore, redis: RedisConfiguration) {
        self.store = store
        self.redis = redis
    }

    /// Prints `ready` once it receives. At the end it prints a line `NUMBER NANOSECONDS` for each
    /// numbered event, by the monotonic clock.
    /// - Parameter events: the number of the last event; for `count`, how many events.
    package func run(_ way: Way, events: Int) async throws {
        switch way {
        case .count: try await count(events)
        case .plain:
            var receipts = Receipts(last: events)
            for await item in try RedisSubscription(redis, patterns: [store.ledger.everyStream]) {
                switch item {
                case .message(_, _, let payload): if try receipts.add(payload) { return }
                case .joined: continue
                case .lost(let error): throw BenchFailure("the subscription was lost: \(error)")
                }
            }
        case .follow:
            var receipts = Receipts(last: events)
            try await Feed.with(store: store, redis: redis, logger: Logger.standardError("bench")) { feed in
                for try await event in feed.subscribe() where try receipts.add(event.json) { return }
            }
        }
    }

    private func count(_ events: Int) async throws {
        var left = events
        for await item in try RedisSubscription(redis, patterns: [store.ledger.everyStream]) {
            switch item {
            case .message: left -= 1
            case .joined: say("ready")
            case .lost(let error):
                throw BenchFailure("the subscription was lost with \(left) of \(events) messages missing: \(error)")
            }
            if left == 0 { return say("done") }
        }
    }
}

/// The arrival times of events.
private struct Receipts {
    private let last: Int
    private var lines: [(number: Int, at: UInt64)] = []
    private var isReady = false

    init(last: Int) { self.last = last }

    /// True when the last event has arrived.
    mutating func add(_ bytes: [UInt8]) throws -> Bool {
        let now = monotonicNanoseconds()
        guard let number = Self.number(in: bytes) else { return false }
        if !isReady { say("ready") }
        isReady = true
        // Events numbered 0 only show that the connection works.
        if number > 0 { lines.append((number, now)) }
        guard lines.count == last else { return false }
        say(lines.map { "\($0.number) \($0.at)" }.joined(separator: "\n") + "\ndone")
        return true
    }

    /// The value of `completed`, anywhere in the text.
    private static func number(in bytes: [UInt8]) -> Int? {
        let name = Array(#""completed":"#.utf8)
        guard let start = bytes.firstRange(of: name)?.upperBound else { return nil }
        let digits = bytes[start...].drop { $0 == 0x20 }.prefix { (0x30...0x39).contains($0) }
        return Int(String(decoding: digits, as: UTF8.self))
    }
}

/// Nanoseconds of the monotonic clock, which all processes of a machine share.
func monotonicNanoseconds() -> UInt64 { DispatchTime.now().uptimeNanoseconds }

/// Tells the bench. If the bench has gone, nobody waits for the line, so the error is ignored.
private func say(_ line: String) { try? StandardOutput.write(Array((line + "\n").utf8)) }
