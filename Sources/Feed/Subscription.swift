import BlockingIO
import EventStore
package import LedgerCore

/// Events from a position on, each once and in order, as they are appended. Made by
/// ``Feed/subscribe(after:epoch:jobs:types:)``.
///
/// Each iterator is a subscriber of its own until it is released. It throws ``AnotherEpoch``,
/// ``FeedStopped``, an error of Postgres that waiting cannot fix, or `CancellationError` when the
/// task is cancelled. It ends by itself only if it follows one job, after the job's last event.
///
/// A live subscription costs a place in a list: no task, no thread, no connection. What it lacks it
/// reads from Postgres, one page at a time, in the consumer's task, when the consumer asks for
/// more.
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
        /// Events that were taken, in reverse order: the next event is last.
        private var events: [FeedEvent] = []

        init(_ subscriber: Subscriber) { self.subscriber = subscriber }

        package mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws -> FeedEvent? {
            try Task.checkCancellation()
            if events.isEmpty { events = try await subscriber.take(isolation: actor).reversed() }
            return events.popLast()
        }

        /// All events that ``next(isolation:)`` would return without waiting, at least one; `nil`
        /// at the end.
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
    /// The epoch that the subscriber remembers.
    private let epoch: EventID?
    private var buffer: SubscriptionBuffer?
    /// The feed's count when this subscriber joined.
    private var shrinkCount = 0
    /// The last known head of the log; at first, the position that the subscriber gave.
    private var head: Position = 0
    /// The pause between reads of a replica that lags.
    private var backoff = Backoff(first: .milliseconds(5), longest: .milliseconds(250))
    /// The maximum number of events in the next page.
    private var limit: Int

    /// - Parameter position: `nil` for the end of the log at the first call of `take`.
    init(feed: Feed, _ selection: Selection, after position: Position?, epoch: EventID?) {
        self.feed = feed
        self.selection = selection
        self.epoch = epoch
        after = position
        limit = feed.bufferLimits.events
    }

    deinit { if let buffer { feed.leave(buffer) } }

    /// All available events, as soon as there is one; empty at the end.
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

    /// Joins before the first read, so that it receives what comes after that read.
    private func joined(isolation actor: isolated (any Actor)?) async throws -> SubscriptionBuffer {
        if let buffer { return buffer }
        let start: Position
        var epoch = epoch
        if let after {
            start = after
        } else {
            let (store, given) = (feed.store, epoch)
            let log = try await retryingPostgres(isolation: actor) { try await store.logHead() }
            if let given, given != log.epoch { throw AnotherEpoch(position: log.position, head: log.position) }
            (start, epoch) = (log.position, log.epoch)
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
        // Cancelling a page halfway costs more than two queries, so the next limit is what fitted.
        self.limit = found.isHeavy ? max(1, found.page.events.count) : min(2 * limit, feed.bufferLimits.events)
        return found.page
    }
}
