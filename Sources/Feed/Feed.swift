import BlockingIO
package import EventStore
package import LedgerCore
package import Logging
import Postgres
package import Redis

/// The live feed of one ledger in one process: any number of subscriptions over one connection to
/// Redis.
///
/// Make one per process, run ``run()`` beside the subscribers, and:
///
///     for try await event in feed.subscribe(after: position, job: "backtest-7") { … }
///
/// Redis may lose anything at any time; a subscription loses nothing. It finds a gap by the numbers
/// of the events and fills it from Postgres.
package final class Feed: Sendable {
    let store: EventStore
    let bufferLimits: BufferLimits
    let standbyPatience: Duration
    let logger: Logger
    let poll: Duration
    let redis: RedisConfiguration?
    let topics: RedisTopics
    let state: Locked<State>
    /// Yields an element when it may be time to poll Postgres.
    let wakes: AsyncStream<Void>
    let wake: AsyncStream<Void>.Continuation

    struct State {
        var subscribers: SubscriberRegistry
        var receivedSpan = ReceivedSpan()
        var polling = Polling()
        var lag = LagHistogram()
        /// Counts of the subscriptions that have left.
        var tally = Delivery<FeedEvent>.Tally()
        var rejected = Rejected()
        var isJoined = false
        /// Whether the connection to Redis broke, or could not be made.
        var isLost = false
        /// Whether the feed listens to the pattern of all streams.
        var receivesPattern = false
        var phase = Phase.new
        enum Phase { case new, running, stopped }
    }

    /// Messages that are not from the ledger's relay.
    struct Rejected {
        var count = 0
        /// When one was last logged.
        var lastLogged: ContinuousClock.Instant?
    }

    /// What a subscription buffers at most while its consumer is busy. A slower consumer reads the
    /// rest from Postgres.
    package struct BufferLimits: Sendable {
        package var events: Int
        package var bytes: Int
        package init(events: Int = 256, bytes: Int = 256 << 10) {
            self.events = events
            self.bytes = bytes
        }
    }

    /// - Parameters:
    ///   - store: catch-up borrows connections from its pool.
    ///   - redis: `nil` to poll Postgres only.
    ///   - poll: how often Postgres is polled, once for all subscriptions, while Redis is silent.
    ///   - standbyPatience: for how long subscriptions to a ledger that demands quorum wait for a
    ///     primary where a standby answers. After that they end with ``StandbyReadsEarly``.
    package init(
        store: EventStore, redis: RedisConfiguration?, poll: Duration = .milliseconds(250),
        bufferLimits: BufferLimits = BufferLimits(), standbyPatience: Duration = .seconds(30),
        logger: Logger
    ) {
        self.standbyPatience = standbyPatience
        self.store = store
        self.redis = redis
        self.poll = poll
        self.bufferLimits = bufferLimits
        self.logger = logger
        topics = RedisTopics(RedisTopics.Names(channels: [store.ledger.headChannel]))
        state = Locked(State(subscribers: SubscriberRegistry(store.ledger, topics)))
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Listens and polls for all subscriptions until the task is cancelled. Then current and later
    /// subscriptions end with ``FeedStopped``. Call it once.
    package func run() async {
        state.withLock { state in
            precondition(state.phase == .new, "a feed runs once")
            state.phase = .running
        }
        await withTaskGroup(of: Void.self) { group in
            if let redis { group.addTask { await self.listen(to: redis) } }
            group.addTask { await self.keepPolling() }
            group.addTask { [store] in await LeadingServer.keepLooking(with: store.pool.configuration) }
            group.addTask { [poll, wake] in
                wake.yield()
                // Cancellation ends the sleep, and with it this task.
                while (try? await Task.sleep(for: poll)) != nil { wake.yield() }
            }
        }
        let left = state.withLock { state in
            state.phase = .stopped
            state.isJoined = false
            return state.subscribers.all
        }
        for buffer in left { buffer.stop() }
    }

    /// Runs a feed while `body` runs: for programs with a single purpose.
    package static func with<Value: Sendable>(
        store: EventStore, redis: RedisConfiguration?, poll: Duration = .milliseconds(250),
        bufferLimits: BufferLimits = BufferLimits(),
        logger: Logger, isolation actor: isolated (any Actor)? = #isolation, _ body: (Feed) async throws -> Value
    ) async throws -> Value {
        let feed = Feed(store: store, redis: redis, poll: poll, bufferLimits: bufferLimits, logger: logger)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await feed.run() }
            defer { group.cancelAll() }
            return try await body(feed)
        }
    }

    /// All events, or those of a category, of some jobs or of some types, each once and in order.
    /// Without any of these it has the events of every category: it is the log.
    ///
    /// The subscription ends with ``Divergence`` once the ledger no longer has all that the
    /// subscriber has. If the ledger begins another epoch and lost nothing that the subscriber has,
    /// it goes on without notice.
    /// - Parameters:
    ///   - after: the place that the subscriber has come to; 0 for the whole log, `nil` for what
    ///     comes after the first call of `next`. A place without an epoch is taken to be of the
    ///     present history.
    ///   - category: `nil` for all; but with `jobs` or `types`, which are of jobs then, for that of
    ///     jobs.
    ///   - jobs: the streams of the category; `nil` for all.
    ///   - types: `nil` for all.
    package func subscribe(
        after place: Place? = 0, category: Category? = nil, jobs: Set<JobID>? = nil, types: Set<EventType>? = nil
    ) -> Subscription {
        Subscription(feed: self, Selection(category: category, jobs: jobs, types: types), after: place)
    }

    /// The events of one job, or of one stream of another category. The sequence ends after the
    /// job's last event, even if `types` leaves that event out. That of another stream does not
    /// end.
    package func subscribe(
        after place: Place? = 0, category: Category = .job, job: JobID, types: Set<EventType>? = nil
    ) -> Subscription {
        Subscription(
            feed: self, Selection(category: category, jobs: [job], types: types, endsWithJob: true), after: place)
    }

    /// How often, and to what, the log was found shorter than before.
    var shrinks: Shrinks { state.withLock { $0.polling.shrinks } }

    /// A subscription has read the log up to this head.
    func sawHead(_ head: Position) { state.withLock { $0.polling.readHead = max($0.polling.readHead, head) } }

    func join(_ buffer: SubscriptionBuffer) {
        let (isStopped, last) = state.withLock { state in
            state.subscribers.join(buffer)
            state.polling.newcomers.append(buffer)
            return (state.phase == .stopped, state.receivedSpan.last)
        }
        // What arrived before it joined will not arrive again.
        if !buffer.countsVersions { buffer.announce(upTo: last, shouldBeKnown: false) }
        if isStopped { buffer.stop() }
    }

    func leave(_ buffer: SubscriptionBuffer) {
        let tally = buffer.tally
        state.withLock { state in
            state.subscribers.leave(buffer)
            state.polling.newcomers.removeAll { $0 == buffer }
            state.tally += tally
            if topics.names.patterns.isEmpty { state.receivesPattern = false }
        }
    }
}

/// The feed was stopped. What it delivered so far has no gap.
package struct FeedStopped: Error, Sendable, CustomStringConvertible {
    package var description: String { "the feed has stopped" }
}
