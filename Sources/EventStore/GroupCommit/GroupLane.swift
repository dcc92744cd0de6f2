import BlockingIO
import LedgerCore
import Postgres
import Synchronization

/// A queue of requests, and the callers that wait for their answers. The lane's connections take
/// groups of requests from it: see ``serve(_:)``.
final class GroupLane: Sendable {
    private typealias Continuation = CheckedContinuation<[Appended], any Error>

    private struct Caller {
        let continuation: Continuation
        /// How long to wait for the answer of a call that has been sent, and until when; `nil` in
        /// the queue.
        let patience: Duration
        var answerDue: ContinuousClock.Instant?
    }

    private enum Phase { case open, stopping, halted }

    private struct State {
        var phase = Phase.open
        var queue: GroupQueue
        /// The callers without an answer yet, queued or in flight. A caller is resumed by whoever
        /// removes it from here, so it is resumed once.
        var callers: [UInt64: Caller] = [:]
        /// Connections without work.
        var parked: [CheckedContinuation<Bool, Never>] = []
        /// When the groups were taken that are neither answered nor put back, by their first
        /// ticket. A call goes on when its callers have gone, and others wait for it then too.
        var calls: [UInt64: ContinuousClock.Instant] = [:]
        /// Connections that are being made.
        var connecting = 0
        /// What kept the lane from writing last, until it has taken a group.
        var obstacle: (any Error)?
        var commits = 0

        mutating func end(_ group: [GroupQueue.Entry]) {
            if let first = group.first { calls[first.ticket] = nil }
        }
    }

    private let state: Locked<State>
    private let tickets = Atomic<UInt64>(0)
    private let timeout: Duration
    private let callTimeout: Duration
    private let mostBytes: Int

    let versionHints: VersionHints

    /// - Parameter mostBytes: of one group.
    init(
        bound: GroupQueue.Bound, mostBytes: Int, timeout: Duration, callTimeout: Duration, versionHints: VersionHints
    ) {
        self.versionHints = versionHints
        self.callTimeout = callTimeout
        state = Locked(State(queue: GroupQueue(bound: bound)))
        self.mostBytes = mostBytes
        self.timeout = timeout
    }

    var status: GroupCommit.Status.Lane {
        state.withLock { state in
            let oldest = state.calls.values.min()
            return GroupCommit.Status.Lane(
                accepted: state.queue.accepted, acceptedBytes: state.queue.acceptedBytes, waiting: state.queue.waiting,
                inFlight: state.callers.count - state.queue.accepted - state.queue.waiting, commits: state.commits,
                longestInFlight: oldest.map { $0.duration(to: .now) } ?? .zero)
        }
    }

    // MARK: For callers

    /// - Parameter limit: how long the caller waits for the answer of a call that was sent, if not
    ///   for as long as the lane has it.
    func append(_ request: AppendRequest, size: Int, answeredWithin limit: Duration?) async throws -> [Appended] {
        let ticket = tickets.add(1, ordering: .relaxed).newValue
        let entry = GroupQueue.Entry(ticket: ticket, request: request, size: size, deadline: .now.advanced(by: timeout))
        let patience = min(limit ?? callTimeout, callTimeout)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                enter(entry, Caller(continuation: continuation, patience: patience))
                // The task may have been cancelled before the request was in the queue.
                if Task.isCancelled { cancel(ticket) }
            }
        } onCancel: {
            cancel(ticket)
        }
    }

    private func enter(_ entry: GroupQueue.Entry, _ caller: Caller) {
        let (isOpen, idle) = state.withLock { state -> (Bool, CheckedContinuation<Bool, Never>?) in
            guard state.phase == .open else { return (false, nil) }
            state.callers[entry.ticket] = caller
            state.queue.enter(entry)
            return (true, state.parked.popLast())
        }
        idle?.resume(returning: true)
        if !isOpen { caller.continuation.resume(throwing: GroupCommitStopped()) }
    }

    /// A queued request is not sent. A request in flight continues without its caller, because it
    /// shares a transaction with others.
    private func cancel(_ ticket: UInt64) {
        let caller = state.withLock { state in
            _ = state.queue.remove(ticket)
            return state.callers.removeValue(forKey: ticket)
        }
        caller?.continuation.resume(throwing: CancellationError())
    }

    // MARK: For connections

    /// Returns true when a request waits, and false when no more will come.
    func waitForWork() async -> Bool {
        await withCheckedContinuation { connection in
            let hasWork = state.withLock { state -> Bool? in
                if !state.queue.isEmpty { return true }
                if state.phase != .open { return false }
                state.parked.append(connection)
                return nil
            }
            if let hasWork { connection.resume(returning: hasWork) }
        }
    }

    /// Makes a connection. Requests in the queue run out of time meanwhile.
    func connect(_ configuration: PostgresConfiguration) async throws -> PostgresConnection {
        state.withLock { $0.connecting += 1 }
        defer { state.withLock { $0.connecting -= 1 } }
        return try await PostgresConnection.connect(configuration)
    }

    /// The requests that arrived while the last commit was in flight; empty if another connection
    /// took them.
    func takeGroup() -> [GroupQueue.Entry] {
        state.withLock { state in
            let group = state.queue.takeGroup(mostEvents: AppendBatch.mostEvents, mostBytes: mostBytes)
            state.obstacle = nil
            let now = ContinuousClock.now
            if let first = group.first { state.calls[first.ticket] = now }
            for entry in group {
                guard let patience = state.callers[entry.ticket]?.patience else { continue }
                state.callers[entry.ticket]?.answerDue = now.advanced(by: patience)
            }
            return group
        }
    }

    /// - Parameter doubt: why what was written is not durable enough to be acknowledged.
    func answer(_ group: [GroupQueue.Entry], _ answers: [AppendAnswer], doubt: String? = nil) {
        let callers = state.withLock { state in
            state.commits += 1
            state.end(group)
            return group.map { state.callers.removeValue(forKey: $0.ticket) }
        }
        for (caller, answer) in zip(callers, answers) {
            switch answer {
            case .success(let appended):
                if let doubt {
                    caller?.continuation.resume(throwing: NotDurable(answers: [answer], reason: doubt))
                } else {
                    caller?.continuation.resume(returning: appended)
                }
            case .failure(let refusal): caller?.continuation.resume(throwing: refusal)
            }
        }
    }

    func fail(_ group: [GroupQueue.Entry], _ error: any Error) {
        resume(throwing: error) { state in
            state.end(group)
            return group.map(\.ticket)
        }
    }

    /// Puts requests back into the queue, except those whose callers have gone.
    func putBack(_ group: [GroupQueue.Entry], alone: Bool = false) {
        state.withLock { state in
            state.end(group)
            let waiting = group.filter { state.callers[$0.ticket] != nil }
            for entry in waiting { state.callers[entry.ticket]?.answerDue = nil }
            state.queue.putBack(
                waiting.map { entry in
                    var entry = entry
                    entry.isAlone = entry.isAlone || alone
                    return entry
                })
        }
    }

    /// Fails the callers whose time is up, because nothing can be written now; fails all of them if
    /// the error is permanent.
    func failExpired(_ error: any Error, unlessItMayPass mayPass: Bool) {
        resume(throwing: error) { state in
            state.obstacle = error
            return mayPass ? state.queue.removeExpired(at: .now) : state.queue.removeAll()
        }
    }

    /// Fails the callers whose time is up while a call is stuck, or a connection is not made:
    /// nobody else looks at the queue meanwhile. Those in the queue have written nothing; of those
    /// whose call was sent, the outcome is unknown.
    func failOverdue() {
        let now = ContinuousClock.now
        let obstacle = state.withLock { $0.obstacle }
        resume(throwing: obstacle ?? GroupCommitBusy(waited: timeout)) { state in
            // While nothing is under way, the lane is about to take what is in the queue.
            state.calls.isEmpty && state.connecting == 0 && state.obstacle == nil
                ? [] : state.queue.removeExpired(at: now)
        }
        let overdue = state.withLock { state in
            let tickets = state.callers.filter { $0.value.answerDue.map { $0 <= now } ?? false }.map(\.key)
            return tickets.compactMap { state.callers.removeValue(forKey: $0) }
        }
        for caller in overdue { caller.continuation.resume(throwing: OutcomeUnknown(unansweredFor: caller.patience)) }
    }

    // MARK: The end

    /// Refuses new requests. Accepted ones are finished.
    func stop() {
        resume(throwing: GroupCommitStopped()) { state in
            if state.phase == .open { state.phase = .stopping }
            return state.queue.removeWaiting()
        }
        wakeConnections()
    }

    /// Ends at once: queued requests are not written, and the outcome of those in flight is
    /// unknown.
    func halt() {
        resume(throwing: GroupCommitStopped()) { state in
            state.phase = .halted
            return state.queue.removeAll()
        }
        resume(throwing: OutcomeUnknown(reason: "the group commit was ended at once")) { Array($0.callers.keys) }
        wakeConnections()
    }

    private func wakeConnections() {
        let parked = state.withLock { state in
            defer { state.parked = [] }
            return state.parked
        }
        for connection in parked { connection.resume(returning: false) }
    }

    /// Resumes callers after the lock is released.
    private func resume(throwing error: any Error, _ tickets: (inout State) -> [UInt64]) {
        let callers = state.withLock { state in tickets(&state).compactMap { state.callers.removeValue(forKey: $0) } }
        for caller in callers { caller.continuation.resume(throwing: error) }
    }
}
