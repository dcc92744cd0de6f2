import BlockingIO
import Foundation
package import LedgerCore
import Postgres

extension EventStore {
    /// Appends `requests` in their order, each on its own: one refused request fails no other.
    ///
    /// When the connection breaks and the outcome of a batch is unknown, the batch is sent again
    /// with the same event ids. Events that were written the first time are answered as duplicates,
    /// at their original positions.
    /// - Parameters:
    ///   - level: what the events must reach before they are answered, if the ledger demands less.
    ///   - timeout: how long to go on trying when the server is away or busy.
    ///   - limit: how long to wait for `level`, if it is quorum: in the call itself, whose commit
    ///     may wait for the standbys, and after it. By default as long as the call takes, and then
    ///     as long as `timeout`.
    ///   - callTimeout: how long to wait for the answer to a call that was sent, before its
    ///     connection is closed. The append itself goes on: it is never cancelled. `nil` waits for
    ///     as long as the driver does, and also for a connection.
    /// - Returns: one answer a request, in order.
    /// - Throws: ``PostgresError`` when the server cannot be reached or rejects the call, and
    ///   ``GroupCommitBusy`` when there was no connection to send it in time: nothing was written.
    ///   ``OutcomeUnknown`` when events may have been written. ``NotDurable`` when they were, and
    ///   have not reached the level.
    package func append(
        _ requests: [AppendRequest], atLeast level: Durability = .local, timeout: Duration = .seconds(10),
        within limit: Duration? = nil, callTimeout: Duration? = nil
    ) async throws -> [AppendAnswer] {
        var answers: [AppendAnswer] = []
        answers.reserveCapacity(requests.count)
        let ofLevel = level == .quorum ? limit : nil
        let patience = AppendPatience(
            trying: timeout, confirmation: limit ?? timeout, call: [callTimeout, ofLevel].compactMap(\.self).min())
        var all: [AppendRequest]? = requests
        do {
            try await append(
                inOrder: {
                    defer { all = nil }
                    return all
                }, atLeast: level, patience: patience, answered: { answers += $0 })
        } catch  where error is PostgresError || error is GroupCommitBusy || error is NotConfirmed {
            // Each says that nothing was written, which is so of the batch that failed.
            var rest = requests[...]
            _ = AppendBatch(taking: &rest)
            guard rest.isEmpty else { throw OutcomeUnknown(reason: "some batches may have been written: \(error)") }
            throw error
        }
        return answers
    }

    /// Appends one event; throws its ``Refusal`` if it is refused.
    package func append(
        _ event: NewEvent, to job: JobID, of category: Category = .job, expectedVersion: Int32? = nil,
        atLeast level: Durability = .local, timeout: Duration = .seconds(10), callTimeout: Duration? = nil
    ) async throws -> Appended {
        let request = AppendRequest(category: category, job: job, events: [event], expectedVersion: expectedVersion)
        return try await append([request], atLeast: level, timeout: timeout, callTimeout: callTimeout)[0].get()[0]
    }

    /// Appends the requests that `next` returns, in order, and passes their answers to `answered`
    /// in the same order.
    ///
    /// With more than one batch, two are under way at once: while one is being written, the server
    /// checks the next one on another connection, where it waits for its turn (see `await_turn` in
    /// the migrations). Meanwhile the batch after that is prepared here, so memory holds three.
    /// Refusals, retries and errors are those of ``append(_:timeout:)``. When `next` throws, the
    /// requests it returned before are still appended and answered.
    /// - Parameters:
    ///   - next: the next requests, `nil` after the last; about a thousand at a time, because more
    ///     are split into several calls.
    ///   - level: what the events must reach before they are answered, if the ledger demands less.
    ///   - timeout: how long to keep trying for one batch when the server is away or busy.
    ///   - answered: gets one answer a request, in order, once they are written.
    package func append(
        inOrder next: () async throws -> [AppendRequest]?, atLeast level: Durability = .local,
        timeout: Duration = .seconds(10),
        answered: ([AppendAnswer]) async throws -> Void
    ) async throws {
        try await append(
            inOrder: next, atLeast: level, patience: AppendPatience(trying: timeout, confirmation: timeout, call: nil),
            answered: answered)
    }

    private func append(
        inOrder next: () async throws -> [AppendRequest]?, atLeast level: Durability, patience: AppendPatience,
        answered: ([AppendAnswer]) async throws -> Void
    ) async throws {
        var rest: ArraySlice<AppendRequest> = []
        func prepare() async throws -> AppendBatch? {
            while rest.isEmpty {
                guard let requests = try await next() else { return nil }
                rest = requests[...]
            }
            return AppendBatch(taking: &rest)
        }
        guard let first = try await prepare() else { return }
        var prepared = Result<AppendBatch?, any Error>.success(nil)
        func prepareNext() async {
            do { prepared = .success(try await prepare()) } catch { prepared = .failure(error) }
        }
        await prepareNext()
        guard case .success(_?) = prepared else {
            try await answered(try await send(first, atLeast: level, patience))
            _ = try prepared.get()
            return
        }

        let appender = UUID.version7().text
        try await withThrowingTaskGroup(of: (turn: Int64, answers: [AppendAnswer]).self) { group in
            var begunTurns: Int64 = 0
            var connected = Latch.opened
            func begin(_ batch: AppendBatch) {
                begunTurns += 1
                let (turn, before, own) = (begunTurns, connected, Latch())
                let batch = batch.inTurn(turn, of: appender)
                connected = own
                group.addTask {
                    defer { own.open() }
                    // Connections are taken in the order of turns. Otherwise a batch could hold a
                    // connection and wait for the turn of a batch that has none.
                    await before.wait()
                    return (turn, try await send(batch, atLeast: level, patience, connected: own.open))
                }
            }
            var (ended, answeredTurns): (Int64, Int64) = (0, 0)
            var answersAhead: [Int64: [AppendAnswer]] = [:]
            // With a single connection, a batch that waits for its turn would block the batch
            // before it.
            let atOnce = Int64(min(2, pool.size))
            begin(first)
            while answeredTurns < begunTurns {
                if case .success(let batch?) = prepared, begunTurns - ended < atOnce {
                    begin(batch)
                    await prepareNext()
                }
                guard let done = try await group.next() else { break }
                ended += 1
                answersAhead[done.turn] = done.answers
                while let answers = answersAhead.removeValue(forKey: answeredTurns + 1) {
                    answeredTurns += 1
                    try await answered(answers)
                }
                if answeredTurns == begunTurns, case .success(let batch?) = prepared {
                    begin(batch)
                    await prepareNext()
                }
            }
        }
        try await forgetTurns(of: appender, patience)
        _ = try prepared.get()
    }

    /// If this is not reached, or does not succeed, a later appender removes the turns that are
    /// left.
    private func forgetTurns(of appender: String, _ patience: AppendPatience) async throws {
        let forget = { @Sendable in
            _ = try await pool.withConnection { try await $0.query("SELECT forget_turns($1)", appender) }
        }
        guard patience.call != nil else { return try await forget() }
        do {
            try await withTimeLimit(patience.trying, orThrow: GroupCommitBusy(waited: patience.trying), forget)
        } catch  where error is PostgresError || error is GroupCommitBusy {
            // All is written and answered, so a caller with limits does not wait on.
        }
    }

    private func send(
        _ batch: AppendBatch, atLeast level: Durability, _ patience: AppendPatience,
        connected: @escaping @Sendable () -> Void = {}
    ) async throws -> [AppendAnswer] {
        guard batch.asksServer else { return try batch.answers(nil) }
        return try await durably(atLeast: level, within: patience.confirmation) {
            let answers = try await retrying(patience) { connection, call in
                try call.begin()
                connected()
                guard let statement = batch.statement(versionHints) else { return try batch.answers(nil) }
                return try await connection.confirmed(try batch.answers(try await connection.query(statement)))
            }
            versionHints.note(answers, to: batch.requests)
            return answers
        }
    }

    /// Runs `body` until it succeeds, fails for good, or the patience ends. It gets a connection,
    /// and what to tell before it sends something.
    private func retrying<T: Sendable>(
        _ patience: AppendPatience, _ body: @escaping @Sendable (PostgresConnection, AppendCall) async throws -> T
    ) async throws -> T {
        let deadline = ContinuousClock.now.advanced(by: patience.trying)
        var backoff = Backoff()
        // Remembers an attempt that may have been written, even if the next one only finds the
        // server away.
        var unknownOutcome: PostgresError?
        while true {
            let call = AppendCall(callsUnderWay)
            do {
                return try await call.answer(by: deadline, patience) {
                    try await pool.withConnection { try await body($0, call) }
                }
            } catch let error as PostgresError {
                if call.isSent, error.outcomeIsUnknown { unknownOutcome = error }
                guard error.isRetriable, ContinuousClock.now < deadline else {
                    if let unknownOutcome { throw OutcomeUnknown(reason: "\(unknownOutcome)") }
                    throw error
                }
            } catch let error as GroupCommitBusy {
                throw unknownOutcome.map { OutcomeUnknown(reason: "\($0)") } ?? error
            }
            try await backoff.pause()
        }
    }
}
