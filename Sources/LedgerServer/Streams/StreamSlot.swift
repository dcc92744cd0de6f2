import BlockingIO
import Feed
import LedgerCore

/// What one stream waits for: the next news of its subscription, of which the slot holds one, and
/// everything else that may happen in the meantime.
final class StreamSlot: Sendable {
    /// News of the subscription.
    enum News: Sendable {
        /// Events, and the epoch in which the client comes to their positions.
        case events([FeedEvent], EpochDigits?)
        /// The log no longer has all that the stream has taken. The stream says where to go on.
        case diverged(Divergence)
        /// The subscription goes on. The jobs are those that have not ended for the client; `nil`
        /// if the stream has all jobs.
        case reopened(unended: Set<JobID>?)
    }

    enum Item: Sendable {
        case news(News)
        /// The deadline that the stream set.
        case alarm
        /// Time for the heartbeat.
        case tick
        /// There are no more events.
        case ended
        /// The service is stopping.
        case stopped
        case failed(any Error)
        /// The connection is gone, or the stream's token is no longer valid.
        case closed
    }

    private struct State: Sendable {
        var news: News?
        var isAlarmDue = false
        var isTickDue = false
        /// The last item.
        var end: Item?
        var isClosed = false
        var reader: CheckedContinuation<Void, Never>?
        var writer: CheckedContinuation<Void, Never>?

        mutating func take() -> Item? {
            if isClosed { return .closed }
            if let news {
                self.news = nil
                return .news(news)
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

    /// Offers news. Returns when the stream has taken them or will take no more.
    func put(_ news: News) async {
        wake { $0.news = news }
        await withCheckedContinuation { writer in
            let isTaken = state.withLock { state in
                if state.news != nil, !state.isClosed { state.writer = writer }
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
                        state.news == nil && !state.isAlarmDue && !state.isTickDue && state.end == nil
                        && !state.isClosed
                    if isEmpty { state.reader = reader }
                    return isEmpty
                }
                if !isEmpty { reader.resume() }
            }
        }
    }
}
