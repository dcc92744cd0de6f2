import EventStore
import LedgerCore
import Logging
import OffPool
import Redis

/// The live feed of one ledger in one process: any number of subscriptions over one connection to Redis.
///
/// Make one a process, keep ``run()`` going beside whoever subscribes, and:
///
///     for try await event in feed.subscribe(after: position, job: "backtest-7") { … }
///
/// Redis may lose anything at any time, a subscription does not: what is missing shows by the numbers, and is read from Postgres.
public final class Feed: Sendable {
    let store: EventStore
    let redis: RedisConfiguration?
    let poll: Duration
    let buffer: Buffer
    let logger: Logger

    /// What a subscription holds at most while its consumer is busy. One that is slower is read from Postgres again.
    public struct Buffer: Sendable {
        public var events: Int
        public var bytes: Int
        public init(events: Int = 256, bytes: Int = 256 << 10) {
            self.events = events
            self.bytes = bytes
        }
    }

    /// - Parameters:
    ///   - redis: `nil` to ask Postgres only.
    ///   - poll: how often Postgres is asked what is new, once for all subscriptions, while Redis says nothing.
    public init(
        store: EventStore, redis: RedisConfiguration?, poll: Duration = .milliseconds(250), buffer: Buffer = Buffer(),
        logger: Logger
    ) {
        self.store = store
        self.redis = redis
        self.poll = poll
        self.buffer = buffer
        self.logger = logger
    }

    /// Listens, and asks, for all subscriptions until the task is cancelled. Then they end with ``FeedStopped``, and so does each
    /// that is made later.
    public func run() async {
        while (try? await Task.sleep(for: .seconds(3600))) != nil {}
    }

    /// All events, or those of some jobs, or of some types: each once and in order.
    /// - Parameters:
    ///   - after: the last position that the subscriber has; 0 for all there are, `nil` for those from now on.
    ///   - epoch: the epoch that `after` belongs to, where the subscriber remembers it.
    ///   - jobs: `nil` for all.
    ///   - types: `nil` for all.
    public func subscribe(
        after position: Position? = 0, epoch: EventID? = nil, jobs: Set<String>? = nil, types: Set<EventType>? = nil
    ) -> Subscription {
        Subscription(feed: self, after: position, epoch: epoch, jobs: jobs, types: types, endsWithJob: false)
    }

    /// The events of one job; the sequence ends behind the job's last, also where its type is not among `types`.
    public func subscribe(
        after position: Position? = 0, epoch: EventID? = nil, job: String, types: Set<EventType>? = nil
    ) -> Subscription {
        Subscription(feed: self, after: position, epoch: epoch, jobs: [job], types: types, endsWithJob: true)
    }

    /// What has happened so far.
    public var figures: FeedFigures { FeedFigures() }
}

/// What a feed has done since it was made.
public struct FeedFigures: Sendable, Equatable {
    /// Subscriptions now.
    public var subscribers = 0
    /// Events that were found missing by their numbers, however many were missing at once.
    public var gapsDetected = 0
    /// Events that live subscriptions read from Postgres, because they were missing or the consumer had been slow.
    public var refilledEvents = 0
    /// Times a subscription's consumer was too slow for its buffer.
    public var overflows = 0
    /// Whether Redis is listened to now.
    public var isJoined = false
    /// From when an event was recorded until the subscribers had it, by the clocks of the two machines, for events that came by Redis.
    public var deliveryLag = LagHistogram()
}

/// How many of some waits were how long.
public struct LagHistogram: Sendable, Equatable {
    /// In seconds: upper bounds of the buckets.
    public static let bounds = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    /// For each bound the waits up to it and beyond the one before; last, those beyond all.
    public private(set) var counts = [Int](repeating: 0, count: bounds.count + 1)
    /// In seconds.
    public private(set) var sum = 0.0
    public var count: Int { counts.reduce(0, +) }

    mutating func add(_ seconds: Double) {
        counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
        sum += seconds
    }
}

/// The feed was told to stop: what came so far is whole, the rest is for another time.
public struct FeedStopped: Error, Sendable, CustomStringConvertible {
    public var description: String { "the feed has stopped" }
}
