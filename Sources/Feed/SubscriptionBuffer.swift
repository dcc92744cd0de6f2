import BlockingIO
import LedgerCore

/// The buffer between the feed, which adds, and one consumer, which takes: a ``Delivery`` behind a
/// lock, and the consumer's suspended task.
final class SubscriptionBuffer: Sendable {
    let selection: Selection
    /// Whether events are counted by version, not by position.
    let countsVersions: Bool
    private let state: Locked<State>

    private struct State {
        var delivery: Delivery<FeedEvent>
        /// The epoch of the last read; `nil` before the first.
        var epoch: EventID?
        var sleeper: CheckedContinuation<Void, Never>?
        /// Woken before it went to sleep.
        var isAwake = false

        mutating func wake() -> CheckedContinuation<Void, Never>? {
            isAwake = sleeper == nil
            defer { sleeper = nil }
            return sleeper
        }
    }

    /// - Parameter epoch: the epoch of `position`; `nil` if the first read is to determine it.
    init(_ selection: Selection, after position: Position, epoch: EventID?, bufferLimits: Feed.BufferLimits) {
        self.selection = selection
        countsVersions = selection.onlyJob != nil
        let known = Self.mark(position, countsVersions)
        let delivery = Delivery<FeedEvent>(after: known, maxEvents: bufferLimits.events, maxBytes: bufferLimits.bytes)
        state = Locked(State(delivery: delivery, epoch: epoch))
    }

    /// A read after it finds the version at this position.
    private static func mark(_ position: Position, _ countsVersions: Bool) -> Delivery<FeedEvent>.Mark {
        Delivery.Mark(number: countsVersions ? 0 : position, position: position)
    }

    var tally: Delivery<FeedEvent>.Tally { state.withLock { $0.delivery.tally } }

    // MARK: Called by the feed

    /// Ignores an event of another epoch than the subscription's. During the first read the
    /// subscription's epoch is not yet known, so the event is only announced and then read from the
    /// log.
    /// - Parameter follows: the position after which the feed has received everything up to this
    ///   event.
    func receive(_ event: FeedEvent, follows: Position, of epoch: EventID) {
        let mark = selection.mark(event)
        let received = Delivery<FeedEvent>.Received(
            mark: mark, follows: countsVersions ? mark.number - 1 : follows,
            event: selection.wants(event) ? event : nil,
            bytes: event.json.count, isLast: selection.endsWithJob && event.endsJob)
        let woken: CheckedContinuation<Void, Never>? = state.withLock { state in
            guard let own = state.epoch else {
                return state.delivery.announce(upTo: mark.number, shouldBeKnown: false) ? state.wake() : nil
            }
            return own == epoch && state.delivery.receive(received) ? state.wake() : nil
        }
        woken?.resume()
    }

    /// Announces an event that has to be read from the log.
    func announce(of event: FeedEvent) { announce(upTo: selection.mark(event).number, shouldBeKnown: false) }

    func announce(upTo number: Int64, shouldBeKnown: Bool) {
        update { $0.announce(upTo: number, shouldBeKnown: shouldBeKnown) }
    }

    /// Nothing between the two positions concerns this subscription.
    func skip(from: Position, upTo position: Position) {
        let mark = Delivery<FeedEvent>.Mark(number: position, position: position)
        update { $0.receive(Delivery.Received(mark: mark, follows: from, event: nil, bytes: 0)) }
    }

    func suspectGap() { update { $0.suspectGap() } }

    /// Reports a possible gap if the polled log has another epoch than this subscription has seen;
    /// the next read makes sure. This compares with the subscription's own epoch, so it does not
    /// depend on what the feed polled before.
    /// - Returns: whether the epochs differ.
    func suspectGap(unlessOf epoch: EventID) -> Bool {
        let seen = state.withLock { $0.epoch }
        guard let seen, seen != epoch else { return false }
        suspectGap()
        return true
    }

    func stop() { update { $0.stop() } }

    private func update(_ body: (inout Delivery<FeedEvent>) -> Bool) {
        state.withLock { body(&$0.delivery) ? $0.wake() : nil }?.resume()
    }

    // MARK: Called by the consumer

    func nextStep() -> Delivery<FeedEvent>.Step { state.withLock { $0.delivery.nextStep() } }

    /// The epoch of the last read, and so of everything that ``nextStep()`` returned since; `nil`
    /// before the first. Only reads change it.
    var epoch: EventID? { state.withLock { $0.epoch } }

    /// Ends a read, which saw this epoch. The subscription takes it over.
    func finishRead(_ page: Delivery<FeedEvent>.Page, in epoch: EventID) -> Bool {
        state.withLock { state in
            let isNew = state.epoch.map { $0 != epoch } ?? false
            state.epoch = epoch
            return state.delivery.finishRead(page, isOfNewEpoch: isNew)
        }
    }

    /// The log lost events behind a position, none of which the consumer has: continues there.
    func goBack(to position: Position, in epoch: EventID) {
        state.withLock { state in
            state.epoch = epoch
            state.delivery.goBack(to: Self.mark(position, countsVersions))
        }
    }

    func readFailed() { state.withLock { $0.delivery.readFailed() } }

    /// Returns when there may be something to do, or when the task is cancelled.
    func sleep(isolation actor: isolated (any Actor)? = #isolation) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isAwake = state.withLock { state in
                    defer { state.isAwake = false }
                    if !state.isAwake { state.sleeper = continuation }
                    return state.isAwake
                }
                if isAwake { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.wake() }?.resume()
        }
    }
}
