import BlockingIO

/// How long an append that is not made by a group commit waits, and for what.
struct AppendPatience: Sendable {
    /// For a server that is away or busy.
    var trying: Duration
    /// For the standbys, where the append itself has not waited for them.
    var confirmation: Duration
    /// For the answer to a call that was sent; `nil` for as long as the driver waits. It includes
    /// the wait for the standbys, where the commit waits for them.
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
        case sent
        /// The time was up before anything was sent, and nothing will be.
        case givenUp
    }

    private let phase = Locked(Phase.waiting)
    private let sent = Latch()
    private let underWay: AppendCallsUnderWay
    private let id = UInt64.random(in: .min ... .max)

    init(_ underWay: AppendCallsUnderWay) { self.underWay = underWay }

    var isSent: Bool { phase.withLock { $0 == .sent } }

    /// From here on the outcome may be unknown.
    /// - Throws: where the caller was already told that nothing is written.
    func begin() throws {
        let isGivenUp = phase.withLock { phase in
            if phase == .waiting { phase = .sent }
            return phase == .givenUp
        }
        if isGivenUp { throw CancellationError() }
        underWay.begin(id)
        sent.open()
    }

    /// - Returns: false where it was sent already.
    private func giveUp() -> Bool {
        phase.withLock { phase in
            if phase == .waiting { phase = .givenUp }
            return phase == .givenUp
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
        return try await withThrowingTaskGroup(of: T?.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await body() }
            group.addTask {
                // A connection that could not be made says why by then, which is the better answer.
                try await Task.sleep(until: deadline.advanced(by: .seconds(2)), clock: .continuous)
                if self.giveUp() { throw GroupCommitBusy(waited: patience.trying) }
                return nil
            }
            group.addTask {
                await self.sent.wait()
                try await Task.sleep(for: limit)
                throw OutcomeUnknown(unansweredFor: limit)
            }
            while let answer = try await group.next() {
                if let answer { return answer }
            }
            throw CancellationError()
        }
    }
}
