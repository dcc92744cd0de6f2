import BlockingIO
package import LedgerCore
import Postgres

/// Makes sure that what was committed has reached the level quorum, with one question to the server
/// for all that wait.
///
/// The question is an empty transaction whose commit waits for the standbys, so that they also have
/// all that was visible before it. Whoever comes while one is under way waits for the next, because
/// that one may have begun too early.
package actor Confirmations {
    private let pool: PostgresPool
    /// How long the standbys have to answer one question. Then it is asked anew, perhaps of another
    /// server.
    private static let patience = Duration.seconds(5)

    /// Those who wait for an answer, by ticket. Whoever removes one from here resumes it.
    private var waiting: [Int: CheckedContinuation<Place, any Error>] = [:]
    /// The tickets for the next question.
    private var queue: [Int] = []
    private var lastTicket = 0
    /// When each caller began to wait, by its ticket.
    private var callers: [Int: ContinuousClock.Instant] = [:]
    private var roundsUnderWay = 0
    /// The epoch of the last answer.
    private var lastEpoch: EpochDigits?

    /// Two, so that who comes during a question need not wait for its end.
    private static let mostRounds = 2

    init(pool: PostgresPool) { self.pool = pool }

    /// Returns when the log up to `place` has reached the level quorum. Goes on trying while the
    /// server is away.
    /// - Throws: ``NotConfirmed`` where it has not within `limit`; ``HistoryChanged`` where the
    ///   server that answers does not have this place; ``PostgresError`` where trying again cannot
    ///   help.
    package func confirm(_ place: Place, within limit: Duration = .seconds(10)) async throws {
        // Always a question that begins now: what was confirmed before may be gone with its server.
        let reached = try await head(within: limit)
        guard reached.epoch == place.epoch, reached.position >= place.position else {
            throw HistoryChanged(place: place, head: reached)
        }
    }

    /// The epoch in which the place of the next append will be: the one of the last answer, or one
    /// that is asked for now, which also tells whether there are standbys at all. If it is of an
    /// earlier epoch, the next confirmation says so.
    package func epoch(within limit: Duration = .seconds(10)) async throws -> EpochDigits? {
        if let lastEpoch { return lastEpoch }
        return try await head(within: limit, orFailingWithoutStandbys: true).epoch
    }

    /// Where the log ends, once all of it has reached the level quorum.
    /// - Parameter failsWithoutStandbys: whether to throw at once where the server has no standbys
    ///   to wait for: while nothing is written yet, there is nothing to wait for either.
    package func head(
        within limit: Duration = .seconds(10), orFailingWithoutStandbys failsWithoutStandbys: Bool = false
    ) async throws -> Place {
        let (began, reason) = (ContinuousClock.now, Locked<String?>(nil))
        lastTicket += 1
        let ticket = lastTicket
        callers[ticket] = .now
        defer { callers[ticket] = nil }
        do {
            return try await withTimeLimit(limit, orThrow: NotConfirmed(waited: limit)) {
                var backoff = Backoff()
                while true {
                    do {
                        return try await self.nextRound()
                    } catch let error as PostgresError where error.isRetriable {
                        reason.withLock { $0 = "\(error)" }
                        if failsWithoutStandbys, error.sqlState == .noStandbys {
                            throw NotConfirmed(waited: began.duration(to: .now), lacksStandbys: true)
                        }
                        try await backoff.pause()
                    } catch let error as NotConfirmed {
                        reason.withLock { $0 = "\(error)" }
                    }
                }
            }
        } catch var error as NotConfirmed {
            error.reason = reason.withLock { $0 }
            throw error
        }
    }

    /// For how long the standbys have owed an answer to the caller who has waited longest.
    package var longestWait: Duration { callers.values.min()?.duration(to: .now) ?? .zero }

    // MARK: Rounds

    /// The answer to a question that is asked from now on.
    private func nextRound() async throws -> Place {
        lastTicket += 1
        let ticket = lastTicket
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { waiter in
                guard !Task.isCancelled else { return waiter.resume(throwing: CancellationError()) }
                waiting[ticket] = waiter
                queue.append(ticket)
                guard roundsUnderWay < Self.mostRounds else { return }
                roundsUnderWay += 1
                // A task of no caller: a caller that is cancelled must not end the wait of
                // others. It ends when nobody waits, and each question has a bound.
                Task { await self.ask() }
            }
        } onCancel: {
            Task { await self.leave(ticket) }
        }
    }

    private func leave(_ ticket: Int) { waiting.removeValue(forKey: ticket)?.resume(throwing: CancellationError()) }

    private func ask() async {
        while !queue.isEmpty {
            let asking = queue
            queue = []
            guard asking.contains(where: { waiting[$0] != nil }) else { continue }
            let answer: Result<Place, any Error>
            do { answer = .success(try await question()) } catch { answer = .failure(error) }
            if case .success(let head) = answer { lastEpoch = head.epoch }
            for ticket in asking { waiting.removeValue(forKey: ticket)?.resume(with: answer) }
        }
        roundsUnderWay -= 1
    }

    private nonisolated func question() async throws -> Place {
        try await pool.withConnection { try await $0.quorumHead(patience: Self.patience) }
    }
}

/// The standbys have not confirmed in time that they have what was written. It is in the log, and
/// they may get it later.
package struct NotConfirmed: Error, Sendable, CustomStringConvertible {
    package let waited: Duration
    package internal(set) var reason: String?
    /// Whether the server waits for no standbys, so that waiting on would not help.
    package internal(set) var lacksStandbys = false

    package var description: String {
        "no confirmation of the standbys for \(waited)" + (reason.map { ": \($0)" } ?? "")
    }
}

/// The server that was asked does not have a place: it is another one than before, or the ledger
/// has begun another epoch.
package struct HistoryChanged: Error, Sendable, CustomStringConvertible {
    package let place: Place
    package let head: Place
    package var description: String { "the ledger is at \(head), and may not have \(place): read it anew" }
}
