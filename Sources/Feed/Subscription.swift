import BlockingIO
import EventStore
package import LedgerCore

/// Events as they come, from a position on: each once, in order. Made by
/// ``Feed/subscribe(after:epoch:jobs:types:)``.
///
/// Each iterator is a subscriber by itself, until it is dropped. It throws ``AnotherEpoch``,
/// ``FeedStopped``, what Postgres answers that waiting does not mend, and `CancellationError` when
/// the task is cancelled. It ends by itself only where one job is followed, behind the job's last
/// event.
///
/// A subscription that is live costs a place in a list: no task, no thread, no connection. What it
/// lacks it reads from Postgres when its consumer asks for more, in the consumer's task, a page at
/// a time.
package struct Subscription: AsyncSequence, Sendable {
    package typealias Element = FeedEvent
    private let feed: Feed
    private let selection: Selection
    private let after: Position?
    private let epoch: EventID?

    init(feed: Feed, _ selection: Selection, after position: Position?, epoch: EventID?) {
        self.feed = feed
        self.selection = selection
        self.epoch = epoch
        after = position
    }

    package func makeAsyncIterator() -> Iterator {
        Iterator(Subscriber(feed: feed, selection, after: after, epoch: epoch))
    }

    package struct Iterator: AsyncIteratorProtocol {
        private let subscriber: Subscriber
        /// What has been taken, the next event last.
        private var events: [FeedEvent] = []

        init(_ subscriber: Subscriber) { self.subscriber = subscriber }

        package mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws -> FeedEvent? {
            try Task.checkCancellation()
            if events.isEmpty { events = try await subscriber.take(isolation: actor).reversed() }
            return events.popLast()
        }

        /// What ``next(isolation:)`` would give one after the other without waiting: one event at
        /// least; `nil` at the end.
        package mutating func nextBatch(isolation actor: isolated (any Actor)? = #isolation) async throws
            -> [FeedEvent]?
        {
            try Task.checkCancellation()
            let batch = events.isEmpty ? try await subscriber.take(isolation: actor) : events.reversed()
            events = []
            return batch.isEmpty ? nil : batch
        }
    }
}

/// The consumer's end of a ``SubscriptionBuffer``.
final class Subscriber {
    private let feed: Feed
    private let selection: Selection
    private let after: Position?
    /// What whoever subscribed remembers.
    private let epoch: EventID?
    private var buffer: SubscriptionBuffer?
    /// Of the feed, when this subscriber joined.
    private var shrinkCount = 0
    /// How far the log went, by Postgres; at first, by whoever subscribed.
    private var head: Position = 0
    /// Between looks at a replica that is late.
    private var backoff = Backoff(first: .milliseconds(5), longest: .milliseconds(250))
    /// The most events of the next page.
    private var limit: Int

    /// - Parameter position: `nil` for where the log ends when the first event is asked for.
    init(feed: Feed, _ selection: Selection, after position: Position?, epoch: EventID?) {
        self.feed = feed
        self.selection = selection
        self.epoch = epoch
        after = position
        limit = feed.bufferLimits.events
    }

    deinit { if let buffer { feed.leave(buffer) } }

    /// What there is, as soon as there is something; empty at the end.
    func take(isolation actor: isolated (any Actor)?) async throws -> [FeedEvent] {
        let buffer = try await joined(isolation: actor)
        while true {
            try Task.checkCancellation()
            switch buffer.nextStep() {
            case .take(let events): return events
            case .wait: await buffer.sleep(isolation: actor)
            case .end(stopped: false): return []
            case .end(stopped: true): throw FeedStopped()
            case .read(let mark):
                do {
                    let page = try await read(buffer, after: mark, isolation: actor)
                    if buffer.finishRead(page) { backoff.reset() } else { try await backoff.pause() }
                } catch {
                    buffer.readFailed()
                    throw error
                }
            }
        }
    }

    /// Joins before the first look: what comes behind that is received.
    private func joined(isolation actor: isolated (any Actor)?) async throws -> SubscriptionBuffer {
        if let buffer { return buffer }
        let start: Position
        var epoch = epoch
        if let after {
            start = after
        } else {
            let (store, given) = (feed.store, epoch)
            let now = try await retryingPostgres(isolation: actor) { try await store.now() }
            if let given, given != now.epoch { throw AnotherEpoch(position: now.head, head: now.head) }
            (start, epoch) = (now.head, now.epoch)
        }
        let buffer = SubscriptionBuffer(selection, after: start, epoch: epoch, bufferLimits: feed.bufferLimits)
        head = start
        shrinkCount = feed.shrinkCount
        feed.join(buffer)
        self.buffer = buffer
        return buffer
    }

    private func read(
        _ buffer: SubscriptionBuffer, after mark: Delivery<FeedEvent>.Mark, isolation actor: isolated (any Actor)?
    ) async throws -> Delivery<FeedEvent>.Page {
        let (store, selection, limit, bytes) = (feed.store, selection, limit, feed.bufferLimits.bytes)
        let found = try await retryingPostgres(isolation: actor) {
            try await store.events(selection, after: mark, limit: limit, bytes: bytes)
        }
        guard buffer.isOf(found.epoch), found.head >= head, shrinkCount == feed.shrinkCount else {
            throw AnotherEpoch(position: mark.position, head: found.head)
        }
        head = found.head
        // To call off half of a page costs more than to ask twice.
        self.limit = found.isHeavy ? max(1, found.page.events.count) : min(2 * limit, feed.bufferLimits.events)
        return found.page
    }
}
