internal import LedgerCore
internal import OffPool

/// Gives each event of the log to the streams that want it, once it has come to this process.
///
/// A stream that comes in is told how far the hub has got: what is up to there it reads from the log, what is behind it comes to its
/// mailbox. So nothing is missing and nothing comes twice.
final class StreamHub: Sendable {
    /// What a stream wants.
    struct Interest: Sendable {
        /// `nil` for all jobs.
        var jobs: Set<String>?
        /// `nil` for all types.
        var types: Set<EventType>?

        /// Ends are always of interest to who follows some jobs: they end the stream.
        func wants(_ job: String, _ type: EventType) -> Bool {
            guard let jobs else { return types?.contains(type) ?? true }
            return jobs.contains(job) && (type.isEnd || types?.contains(type) ?? true)
        }
    }

    private struct State: Sendable {
        var position: Position
        var isEnded = false
        var last: UInt64 = 0
        var mailboxes: [UInt64: (mailbox: Mailbox, interest: Interest)] = [:]
        /// By job, those that follow some.
        var byJob: [String: Set<UInt64>] = [:]
        /// Those that follow all.
        var all: Set<UInt64> = []
    }

    private let ledger: LedgerName
    private let state: Locked<State>

    init(ledger: LedgerName, at position: Position) {
        self.ledger = ledger
        state = Locked(State(position: position))
    }

    var position: Position { state.withLock { $0.position } }

    /// - Returns: the stream's number, and up to where it must read by itself.
    func enter(_ mailbox: Mailbox, _ interest: Interest) -> (number: UInt64, position: Position) {
        state.withLock { state in
            state.last += 1
            let number = state.last
            state.mailboxes[number] = (mailbox, interest)
            if let jobs = interest.jobs {
                for job in jobs { state.byJob[job, default: []].insert(number) }
            } else {
                state.all.insert(number)
            }
            if state.isEnded { mailbox.end() }
            return (number, state.position)
        }
    }

    func leave(_ number: UInt64) {
        state.withLock { state in
            guard let left = state.mailboxes.removeValue(forKey: number) else { return }
            state.all.remove(number)
            for job in left.interest.jobs ?? [] {
                state.byJob[job]?.remove(number)
                if state.byJob[job]?.isEmpty == true { state.byJob[job] = nil }
            }
        }
    }

    /// Hands out the next events, in the log's order. Where nobody wants an event it is not even spelled out.
    /// - Parameter position: up to where everything has been looked at.
    func publish(_ events: [RecordedEvent], upTo position: Position) {
        state.withLock { state in
            var deliveries: [UInt64: [Frame]] = [:]
            for event in events where event.position > state.position {
                var shared: Frame?
                func give(_ number: UInt64) {
                    guard state.mailboxes[number]?.interest.wants(event.job, event.type) == true else { return }
                    let frame = shared ?? Frame(event, of: ledger)
                    shared = frame
                    deliveries[number, default: []].append(frame)
                }
                for number in state.all { give(number) }
                for number in state.byJob[event.job] ?? [] { give(number) }
            }
            state.position = max(state.position, position)
            // Under the lock, so that whoever comes in at this moment finds that position and mailbox agree.
            for (number, frames) in deliveries { state.mailboxes[number]?.mailbox.put(frames) }
        }
    }

    func tick() { for mailbox in mailboxes { mailbox.tick() } }

    /// Ends all streams, and those that are still to come.
    func end() {
        state.withLock { $0.isEnded = true }
        for mailbox in mailboxes { mailbox.end() }
    }

    /// Ends the streams there are: their positions mean other events by now. The next begin at `position`.
    func restart(at position: Position) {
        let mailboxes = mailboxes
        state.withLock { $0.position = position }
        for mailbox in mailboxes { mailbox.end() }
    }

    private var mailboxes: [Mailbox] { state.withLock { $0.mailboxes.values.map(\.mailbox) } }
}
