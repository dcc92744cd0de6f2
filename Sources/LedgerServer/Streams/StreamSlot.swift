import BlockingIO
import LedgerCore

/// What one stream waits for: the next events, of which it holds one batch, and everything else
/// that may happen meanwhile.
final class StreamSlot: Sendable {
    enum Item: Sendable {
        case events([FeedEvent])
        /// The moment that the stream wanted to be woken at.
        case alarm
        /// Time to see to the heartbeat, and whether the token still holds.
        case tick
        /// No more events come.
        case ended
        /// The service is stopping, or the ledger is another one by now.
        case stopped
        case failed(any Error)
        /// The connection is gone.
        case closed
    }

    private struct State: Sendable {
        var events: [FeedEvent]?
        var isAlarmDue = false
        var isTickDue = false
        /// The last item.
        var end: Item?
        var isClosed = false
        var reader: CheckedContinuation<Void, Never>?
        var writer: CheckedContinuation<Void, Never>?

        mutating func take() -> Item? {
            if isClosed { return .closed }
            if let events {
                self.events = nil
                return .events(events)
            }
            if isAlarmDue {
                isAlarmDue = false
                return .alarm
            }
            if let end { return end }
            if isTickDue {
                isTickDue = false
                return .tick
            }
            return nil
        }
    }

    private let state = Locked(State())

    // MARK: What happens

    /// Returns when the stream has taken them, or will take no more.
    func put(_ events: [FeedEvent]) async {
        wake { $0.events = events }
        await withCheckedContinuation { writer in
            let isTaken = state.withLock { state in
                if state.events != nil, !state.isClosed { state.writer = writer }
                return state.writer == nil
            }
            if isTaken { writer.resume() }
        }
    }

    func tick() { wake { $0.isTickDue = true } }
    func alarm() { wake { $0.isAlarmDue = true } }
    /// The first end counts.
    func end(_ item: Item) { wake { $0.end = $0.end ?? item } }
    /// Nothing is of interest any more.
    func close() {
        wake { $0.isClosed = true }
        taken()
    }

    private func wake(_ body: (inout State) -> Void) {
        let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
            body(&state)
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume()
    }

    private func taken() {
        let writer = state.withLock { state -> CheckedContinuation<Void, Never>? in
            defer { state.writer = nil }
            return state.writer
        }
        writer?.resume()
    }

    // MARK: The stream

    /// What has happened; waits for something.
    func next() async -> Item {
        while true {
            if let item = state.withLock({ $0.take() }) {
                taken()
                return item
            }
            await withCheckedContinuation { reader in
                let isEmpty = state.withLock { state in
                    let isEmpty =
                        state.events == nil && !state.isAlarmDue && !state.isTickDue && state.end == nil
                        && !state.isClosed
                    if isEmpty { state.reader = reader }
                    return isEmpty
                }
                if !isEmpty { reader.resume() }
            }
        }
    }
}
