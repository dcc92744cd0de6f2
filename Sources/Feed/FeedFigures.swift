import BlockingIO

/// What a feed has done since it was made.
package struct FeedFigures: Sendable, Equatable {
    /// Subscriptions now.
    package var subscribers = 0
    /// How often a subscription found by the numbers that events were missing, however many at
    /// once.
    package var gapsDetected = 0
    /// Events that subscriptions read from Postgres after they had been live, because they were
    /// missing or the consumer was slow.
    package var refilledEvents = 0
    /// How often a consumer was too slow for its buffer.
    package var overflows = 0
    /// Messages on Redis that were not the ledger's relay's, and were dropped: forged, of a relay
    /// that is older or of another ledger of this name, or of the time before a change of the key
    /// was known.
    package var rejectedMessages = 0
    /// Whether Redis is listened to now.
    package var isJoined = false
    /// From when an event was recorded until it was here, by the clocks of the two machines, for
    /// events that came by Redis.
    package var deliveryLag = LagHistogram()
}

/// How many of some waits were how long.
package struct LagHistogram: Sendable, Equatable {
    /// In seconds: upper bounds of the buckets.
    package static let bounds = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    /// For each bound the waits up to it and beyond the one before; last, those beyond all.
    package private(set) var counts = [Int](repeating: 0, count: bounds.count + 1)
    /// In seconds.
    package private(set) var sum = 0.0
    package var count: Int { counts.reduce(0, +) }

    mutating func add(_ seconds: Double) {
        counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
        // The other machine's clock may be ahead.
        sum += max(0, seconds)
    }
}

extension Feed {
    /// What has happened so far.
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
