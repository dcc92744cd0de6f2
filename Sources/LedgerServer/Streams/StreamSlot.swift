import BlockingIO
import LedgerCore

/// What one stream waits for: the next batch of events, of which the slot holds one, and everything
/// else that may happen in the meantime.
final class StreamSlot: Sendable {
    enum Item: Sendable {
        case events([FeedEvent])
        /// The deadline that the stream set.
        case alarm
        /// Time for the heartbeat.
        case tick
        /// There are no more events.
        case ended
        /// The service is stopping, or the ledger was restored or re-created.
        case stopped
        case failed(any Error)
        /// The connection is gone, or the stream's token is no longer valid.
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

    // MARK: Called from outside the stream

    /// Offers a batch. Returns when the stream has taken it or will take no more.
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
    /// Ends the stream. Only the first end counts.
    func end(_ item: Item) { wake { $0.end = $0.end ?? item } }
    /// The connection is gone, or the stream's token is no longer valid.
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

    // MARK: Called by the stream

    /// The next thing that happened; waits for it.
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
