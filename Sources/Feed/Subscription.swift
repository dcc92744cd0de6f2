import BlockingIO
import EventStore
package import LedgerCore
import Logging

/// Events from a position on, each once and in order, as they are appended. Made by
/// ``Feed/subscribe(after:category:jobs:types:)``.
///
/// Each iterator is a subscriber of its own until it is released. It throws ``Divergence``,
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
    private let after: Place?

    init(feed: Feed, _ selection: Selection, after place: Place?) {
        self.feed = feed
        self.selection = selection
        after = place
    }

    package func makeAsyncIterator() -> Iterator { Iterator(Subscriber(feed: feed, selection, after: after)) }

    package struct Iterator: AsyncIteratorProtocol {
        private let subscriber: Subscriber
        /// Events that were taken, in reverse order: the next event is last.
        private var events: [FeedEvent] = []

        init(_ subscriber: Subscriber) { self.subscriber = subscriber }

        /// The epoch of the events that were returned last: with it, their positions are places.
        /// `nil` before the first.
        package var epoch: EpochDigits? { subscriber.epoch }

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
    private let after: Place?
    /// The epoch of the events that were taken last.
    private(set) var epoch: EpochDigits?
    private var buffer: SubscriptionBuffer?
    /// The feed's count at the last read.
    private var shrinkCount = 0
    /// The position of the last event that was taken; at first, the one that the subscriber gave.
    private var taken: Position = 0
    /// The pause between reads of a replica that lags.
    private var backoff = Backoff(first: .milliseconds(5), longest: .milliseconds(250))
    /// The maximum number of events in the next page.
    private var limit: Int
    /// Since when only a standby has answered, although the ledger demands quorum.
    private var onStandbySince: ContinuousClock.Instant?

    /// - Parameter place: `nil` for the end of the log at the first call of `take`.
    init(feed: Feed, _ selection: Selection, after place: Place?) {
        self.feed = feed
        self.selection = selection
        after = place
        limit = feed.bufferLimits.events
    }

    deinit { if let buffer { feed.leave(buffer) } }

    /// All available events, as soon as there is one; empty at the end.
    func take(isolation actor: isolated (any Actor)?) async throws -> [FeedEvent] {
        let buffer = try await joined(isolation: actor)
        while true {
            try Task.checkCancellation()
            switch buffer.nextStep() {
            case .take(let events):
                epoch = buffer.epoch.map { EpochDigits($0) }
                taken = events.last?.position ?? taken
                return events
            case .wait: await buffer.sleep(isolation: actor)
            case .end(stopped: false): return []
            case .end(stopped: true): throw FeedStopped()
            case .read(let mark):
                do {
                    if try await read(into: buffer, after: mark, isolation: actor) {
                        backoff.reset()
                    } else {
                        try await backoff.pause()
                    }
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
        var epoch: EventID?
        if let after {
            start = after.position
        } else {
            let store = feed.store
            let log = try await retryingPostgres(isolation: actor) { try await store.logHead() }
            (start, epoch) = (log.position, log.epoch)
        }
        let buffer = SubscriptionBuffer(selection, after: start, epoch: epoch, bufferLimits: feed.bufferLimits)
        taken = start
        shrinkCount = feed.shrinks.count
        feed.join(buffer)
        self.buffer = buffer
        return buffer
    }

    /// Reads a page and adds it to the buffer.
    /// - Returns: false to pause before the next read.
    /// - Throws: ``Divergence``
    private func read(
        into buffer: SubscriptionBuffer, after mark: Delivery<FeedEvent>.Mark, isolation actor: isolated (any Actor)?
    ) async throws -> Bool {
        let (store, selection, limit, bytes) = (feed.store, selection, limit, feed.bufferLimits.bytes)
        let shrinks = feed.shrinks
        let history = buffer.epoch?.text ?? after?.epoch?.text
        let found = try await retryingPostgres(isolation: actor) {
            try await store.events(selection, after: mark, of: history, limit: limit, bytes: bytes)
        }
        guard try await isDurable(found, isolation: actor) else {
            buffer.readFailed()
            return false
        }
        // The replica will reach the position, or another epoch that begins before it.
        if found.isBehind(mark.position) {
            buffer.readFailed()
            return false
        }
        let shared = min(found.shared, shrinks.lowestHead(since: shrinkCount, in: buffer.epoch) ?? .max)
        switch Continuation(mark: mark.position, taken: taken, shared: shared) {
        case .goOn: break
        case .goBack(let position):
            shrinkCount = shrinks.count
            buffer.goBack(to: position, in: found.epoch)
            return true
        case .diverged(let shared):
            let digits = buffer.epoch.map { EpochDigits($0) } ?? after?.epoch
            throw Divergence(
                place: Place(taken, epoch: digits), shared: Place(shared, epoch: EpochDigits(found.epoch)),
                head: found.head)
        }
        shrinkCount = shrinks.count
        feed.sawHead(found.head)
        // Cancelling a page halfway costs more than two queries, so the next limit is what fitted.
        self.limit = found.isHeavy ? max(1, found.page.events.count) : min(2 * limit, feed.bufferLimits.events)
        return buffer.finishRead(found.page, in: found.epoch)
    }

    /// Waits until the events of a page have the level that the ledger demands.
    /// - Returns: false to read anew: the server that confirms may have other events, or the one
    ///   that was read is a standby, which cannot ask.
    private func isDurable(_ found: LogPage, isolation actor: isolated (any Actor)?) async throws -> Bool {
        guard found.demand > .local, let last = found.page.events.last else { return true }
        guard !found.isReplica else {
            let since = onStandbySince ?? .now
            guard since.duration(to: .now) < feed.standbyPatience else { throw StandbyReadsEarly() }
            onStandbySince = since
            return false
        }
        onStandbySince = nil
        let place = Place(last.position, epoch: EpochDigits(found.epoch))
        while true {
            do {
                try await feed.store.confirmations.confirm(place)
                return true
            } catch is HistoryChanged {
                return false
            } catch let error as NotConfirmed {
                feed.logger.debug(
                    "events are held back until the standbys have them",
                    metadata: ["place": "\(place)", "error": "\(error)"])
            }
        }
    }
}

/// A standby was asked for events of a ledger that demands quorum.
package struct StandbyReadsEarly: Error, Sendable, CustomStringConvertible {
    package var description: String {
        """
        the ledger demands the level quorum, and a standby does not know what the others have: follow it on the primary
        """
    }
}

extension StandbyReadsEarly: ExitStatusProviding {
    package var exitStatus: ExitStatus { .cannotConnect }
}
