import BlockingIO

/// Counts since the feed was made.
package struct FeedFigures: Sendable, Equatable {
    /// The current number of subscriptions.
    package var subscribers = 0
    /// How often a subscription found that events were missing, counted once for each gap.
    package var gapsDetected = 0
    /// Events that live subscriptions had to read from Postgres, because the events were missing or
    /// the consumer was slow.
    package var refilledEvents = 0
    /// How often a consumer was slower than its buffer allows.
    package var overflows = 0
    /// Messages from Redis that the ledger's current relay did not sign, and that were dropped.
    /// They are forged, or come from an old relay or from another ledger of this name, or were
    /// signed with a new key before this feed learned it.
    package var rejectedMessages = 0
    /// Whether the feed listens to Redis now.
    package var isJoined = false
    /// From the recording of an event to its arrival here, for events that came through Redis. It
    /// includes the difference between the clocks of the two machines.
    package var deliveryLag = LagHistogram()
}

/// A histogram of durations.
package struct LagHistogram: Sendable, Equatable {
    /// Upper bounds of the buckets, in seconds.
    package static let bounds = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    /// For each bound, the durations up to it and above the bound before; the last bucket has the
    /// rest.
    package private(set) var counts = [Int](repeating: 0, count: bounds.count + 1)
    /// The sum of all durations, in seconds.
    package private(set) var sum = 0.0
    package var count: Int { counts.reduce(0, +) }

    mutating func add(_ seconds: Double) {
        counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
        // The duration is negative if the other machine's clock is ahead.
        sum += max(0, seconds)
    }
}

extension Feed {
    /// The current figures.
    package var figures: FeedFigures {
        let (all, tally, lag, rejected, isJoined) = state.withLock {
            ($0.subscribers.all, $0.tally, $0.lag, $0.rejected.count, $0.isJoined)
        }
        let sum = all.reduce(into: tally) { $0 += $1.tally }
        return FeedFigures(
            subscribers: all.count, gapsDetected: sum.gaps, refilledEvents: sum.refilled, overflows: sum.overflows,
            rejectedMessages: rejected, isJoined: isJoined, deliveryLag: lag)
    }
}

extension Delivery.Tally {
    static func += (sum: inout Self, other: Self) {
        sum.gaps += other.gaps
        sum.refilled += other.refilled
        sum.overflows += other.overflows
    }
}
