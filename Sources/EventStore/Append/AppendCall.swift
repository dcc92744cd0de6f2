import BlockingIO

/// How long an append that is not made by a group commit waits, and for what.
struct AppendPatience: Sendable {
    /// For a server that is away or busy.
    var trying: Duration
    /// For the standbys, after the append.
    var confirmation: Duration
    /// For the answer to a call that was sent; `nil` for as long as the driver waits.
    var call: Duration?
}

/// The calls that were sent to the ledger outside of group commits and have no answer yet.
package final class AppendCallsUnderWay: Sendable {
    private let began = Locked<[UInt64: ContinuousClock.Instant]>([:])

    /// For how long the oldest of them has waited for its answer.
    package var longest: Duration {
        began.withLock { $0.values.min() }.map { $0.duration(to: .now) } ?? .zero
    }

    fileprivate func begin(_ id: UInt64) { began.withLock { $0[id] = .now } }
    fileprivate func end(_ id: UInt64) { began.withLock { $0[id] = nil } }
}

/// One attempt of an append.
final class AppendCall: Sendable {
    private enum Phase {
        /// Nothing was sent yet.
        case waiting
        case sent(ContinuousClock.Instant)
        /// The time was up before anything was sent, and nothing will be.
        case givenUp
    }

    private let phase = Locked(Phase.waiting)
    private let underWay: AppendCallsUnderWay
    private let id = UInt64.random(in: .min ... .max)

    init(_ underWay: AppendCallsUnderWay) { self.underWay = underWay }

    var isSent: Bool {
        phase.withLock { phase in
            if case .sent = phase { true } else { false }
        }
    }

    /// From here on the outcome may be unknown.
    /// - Throws: where the caller was already told that nothing is written.
    func begin() throws {
        let isGivenUp = phase.withLock { phase in
            if case .givenUp = phase { return true }
            phase = .sent(.now)
            return false
        }
        if isGivenUp { throw CancellationError() }
        underWay.begin(id)
    }

    /// - Returns: when the call was sent; `nil` where it was not, and will not be.
    private func giveUp() -> ContinuousClock.Instant? {
        phase.withLock { phase in
            if case .sent(let began) = phase { return began }
            phase = .givenUp
            return nil
        }
    }

    /// The answer of `body`, within the limits. What is given up has its connection closed. The
    /// server finishes an append that was sent, and waits for its standbys: to cancel it would end
    /// that wait.
    /// - Parameter deadline: until when to wait before something is sent.
    func answer<T: Sendable>(
        by deadline: ContinuousClock.Instant, _ patience: AppendPatience,
        _ body: @escaping @Sendable () async throws -> T
    ) async throws -> T {
        defer { underWay.end(id) }
        guard let limit = patience.call else { return try await body() }
        return try await withThrowingTaskGroup(of: T.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(until: deadline, clock: .continuous)
                guard let began = self.giveUp() else { throw GroupCommitBusy(waited: patience.trying) }
                try await Task.sleep(until: began.advanced(by: limit), clock: .continuous)
                throw OutcomeUnknown(reason: "the ledger has not answered for \(limit)")
            }
            guard let answer = try await group.next() else { throw CancellationError() }
            return answer
        }
    }
}
