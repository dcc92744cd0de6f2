import BlockingIO
import LedgerCore

/// Between the feed, which puts in, and one consumer, who takes out: a ``Delivery`` behind a lock,
/// and the consumer's sleep.
final class SubscriptionBuffer: Sendable {
    let selection: Selection
    /// Whether its events are counted by their versions, not by positions.
    let countsVersions: Bool
    private let state: Locked<State>

    private struct State {
        var delivery: Delivery<FeedEvent>
        var epoch: EventID?
        var sleeper: CheckedContinuation<Void, Never>?
        /// Woken before it slept.
        var isAwake = false

        mutating func wake() -> CheckedContinuation<Void, Never>? {
            isAwake = sleeper == nil
            defer { sleeper = nil }
            return sleeper
        }
    }

    /// - Parameter epoch: the one that `position` belongs to; `nil` where the first look has to
    ///   say.
    init(_ selection: Selection, after position: Position, epoch: EventID?, bufferLimits: Feed.BufferLimits) {
        self.selection = selection
        countsVersions = selection.onlyJob != nil
        // Which version stands at the position, the first look finds out.
        let known = Delivery<FeedEvent>.Mark(number: countsVersions ? 0 : position, position: position)
        let delivery = Delivery<FeedEvent>(after: known, maxEvents: bufferLimits.events, maxBytes: bufferLimits.bytes)
        state = Locked(State(delivery: delivery, epoch: epoch))
    }

    var tally: Delivery<FeedEvent>.Tally { state.withLock { $0.delivery.tally } }

    // MARK: From the feed

    /// An event of another epoch than this subscription's is none of its events. While the first
    /// look is under way, nobody can say: then it is only known to be there, and read from the log.
    /// - Parameter follows: the position behind which the feed has received everything up to this
    ///   event.
    func receive(_ event: FeedEvent, follows: Position, of epoch: EventID) {
        let mark = selection.mark(event)
        let received = Delivery<FeedEvent>.Received(
            mark: mark, follows: countsVersions ? mark.number - 1 : follows,
            event: selection.wants(event.type) ? event : nil,
            bytes: event.json.count, isLast: selection.endsWithJob && event.type.isEnd)
        let woken: CheckedContinuation<Void, Never>? = state.withLock { state in
            guard let own = state.epoch else {
                return state.delivery.announce(upTo: mark.number, shouldBeKnown: false) ? state.wake() : nil
            }
            return own == epoch && state.delivery.receive(received) ? state.wake() : nil
        }
        woken?.resume()
    }

    /// There is an event that has to be read from the log.
    func announce(of event: FeedEvent) { announce(upTo: selection.mark(event).number, shouldBeKnown: false) }

    func announce(upTo number: Int64, shouldBeKnown: Bool) {
        update { $0.announce(upTo: number, shouldBeKnown: shouldBeKnown) }
    }

    /// Nothing that concerns this subscription stands between two positions.
    func skip(from: Position, upTo position: Position) {
        let mark = Delivery<FeedEvent>.Mark(number: position, position: position)
        update { $0.receive(Delivery.Received(mark: mark, follows: from, event: nil, bytes: 0)) }
    }

    func suspectGap() { update { $0.suspectGap() } }

    /// Doubts where the log that was asked is of another epoch than what this subscription has
    /// seen: its next look tells for sure. Nothing that the feed knows of earlier answers is needed
    /// for that, so it does not matter who has asked first.
    /// - Returns: whether it doubts.
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

    // MARK: From the consumer

    func nextStep() -> Delivery<FeedEvent>.Step { state.withLock { $0.delivery.nextStep() } }
    func finishRead(_ page: Delivery<FeedEvent>.Page) -> Bool { state.withLock { $0.delivery.finishRead(page) } }

    /// Whether a look was at the log that this subscription is of; the first look says which that
    /// is.
    func isOf(_ epoch: EventID) -> Bool {
        state.withLock { state in
            if state.epoch == nil { state.epoch = epoch }
            return state.epoch == epoch
        }
    }

    func readFailed() { state.withLock { $0.delivery.readFailed() } }

    /// Returns when it pays to ask again, or the task is cancelled.
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
