import BlockingIO
package import EventStore
package import LedgerCore
package import Logging
package import Redis

/// The live feed of one ledger in one process: any number of subscriptions over one connection to
/// Redis.
///
/// Make one a process, keep ``run()`` going beside whoever subscribes, and:
///
///     for try await event in feed.subscribe(after: position, job: "backtest-7") { … }
///
/// Redis may lose anything at any time, a subscription does not: what is missing shows by the
/// numbers, and is read from Postgres.
package final class Feed: Sendable {
    let store: EventStore
    let bufferLimits: BufferLimits
    let logger: Logger
    let poll: Duration
    let redis: RedisConfiguration?
    let topics: RedisTopics
    let state: Locked<State>
    /// Gives an element when it may be time to ask Postgres.
    let wakes: AsyncStream<Void>
    let wake: AsyncStream<Void>.Continuation

    struct State {
        var subscribers: SubscriberRegistry
        var receivedSpan = ReceivedSpan()
        var polling = Polling()
        var lag = LagHistogram()
        /// Of those that have left.
        var tally = Delivery<FeedEvent>.Tally()
        var rejected = Rejected()
        var isJoined = false
        /// Whether the connection to Redis broke, or could not be made.
        var isLost = false
        /// Whether the pattern of all jobs is listened to.
        var receivesPattern = false
        var phase = Phase.new
        enum Phase { case new, running, stopped }
    }

    /// Messages that are not the relay's.
    struct Rejected {
        var count = 0
        /// When that was said last.
        var lastLogged: ContinuousClock.Instant?
    }

    /// What a subscription holds at most while its consumer is busy. One that is slower is read
    /// from Postgres again.
    package struct BufferLimits: Sendable {
        package var events: Int
        package var bytes: Int
        package init(events: Int = 256, bytes: Int = 256 << 10) {
            self.events = events
            self.bytes = bytes
        }
    }

    /// - Parameters:
    ///   - store: whose connections catching up takes its turn on.
    ///   - redis: `nil` to ask Postgres only.
    ///   - poll: how often Postgres is asked what is new, once for all subscriptions, while Redis
    ///     says nothing.
    package init(
        store: EventStore, redis: RedisConfiguration?, poll: Duration = .milliseconds(250),
        bufferLimits: BufferLimits = BufferLimits(),
        logger: Logger
    ) {
        self.store = store
        self.redis = redis
        self.poll = poll
        self.bufferLimits = bufferLimits
        self.logger = logger
        topics = RedisTopics(RedisTopics.Names(channels: [store.ledger.headChannel]))
        state = Locked(State(subscribers: SubscriberRegistry(store.ledger, topics)))
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Listens, and asks, for all subscriptions until the task is cancelled. Then they end with
    /// ``FeedStopped``, and so does each that is made later. A feed runs once.
    package func run() async {
        state.withLock { state in
            precondition(state.phase == .new, "a feed runs once")
            state.phase = .running
        }
        await withTaskGroup(of: Void.self) { group in
            if let redis { group.addTask { await self.listen(to: redis) } }
            group.addTask { await self.keepPolling() }
            group.addTask { [poll, wake] in
                wake.yield()
                // Cancelled while it sleeps: the end of this task.
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

    /// Runs a feed for as long as `body` does: for programs that do one thing.
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

    /// All events, or those of some jobs, or of some types: each once and in order.
    /// - Parameters:
    ///   - after: the last position that the subscriber has; 0 for all there are, `nil` for those
    ///     from the first call of `next` on.
    ///   - epoch: the epoch that `after` belongs to, where the subscriber remembers it.
    ///   - jobs: `nil` for all.
    ///   - types: `nil` for all.
    package func subscribe(
        after position: Position? = 0, epoch: EventID? = nil, jobs: Set<JobID>? = nil, types: Set<EventType>? = nil
    ) -> Subscription {
        Subscription(feed: self, Selection(jobs: jobs, types: types, endsWithJob: false), after: position, epoch: epoch)
    }

    /// The events of one job; the sequence ends behind the job's last, also where its type is not
    /// among `types`.
    package func subscribe(
        after position: Position? = 0, epoch: EventID? = nil, job: JobID, types: Set<EventType>? = nil
    ) -> Subscription {
        Subscription(feed: self, Selection(jobs: [job], types: types, endsWithJob: true), after: position, epoch: epoch)
    }

    /// Changes when the log turns out to be shorter than it was.
    var shrinkCount: Int { state.withLock { $0.polling.shrinkCount } }

    func join(_ buffer: SubscriptionBuffer) {
        let (isStopped, last) = state.withLock { state in
            state.subscribers.join(buffer)
            state.polling.newcomers.append(buffer)
            return (state.phase == .stopped, state.receivedSpan.last)
        }
        // What others have received will not be received again.
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

/// The feed was told to stop: what came so far is whole, the rest is for another time.
package struct FeedStopped: Error, Sendable, CustomStringConvertible {
    package var description: String { "the feed has stopped" }
}

/// The ledger was restored or made anew: its positions mean other events than those seen so far.
package struct AnotherEpoch: Error, Sendable, CustomStringConvertible {
    package let position: Position
    package let head: Position
    package var description: String {
        "the ledger is another one than before (restored, or made anew): it ends at \(head), we had come to \(position); start again from 0"
    }
}
