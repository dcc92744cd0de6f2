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
    ///   - timeout: how long to go on trying when the server is away or busy, and then how long to
    ///     wait for the level.
    /// - Returns: one answer a request, in order.
    /// - Throws: ``PostgresError`` when the server cannot be reached or rejects the call: nothing
    ///   was written. ``OutcomeUnknown`` when events may have been written. ``NotDurable`` when
    ///   they were, and have not reached the level.
    package func append(
        _ requests: [AppendRequest], atLeast level: Durability = .local, timeout: Duration = .seconds(10)
    ) async throws -> [AppendAnswer] {
        var answers: [AppendAnswer] = []
        answers.reserveCapacity(requests.count)
        var all: [AppendRequest]? = requests
        do {
            try await append(
                inOrder: {
                    defer { all = nil }
                    return all
                }, atLeast: level, timeout: timeout, answered: { answers += $0 })
        } catch let error as PostgresError {
            var rest = requests[...]
            _ = AppendBatch(taking: &rest)
            guard rest.isEmpty else { throw OutcomeUnknown(reason: "some batches may have been written: \(error)") }
            throw error
        }
        return answers
    }

    /// Appends one event; throws its ``Refusal`` if it is refused.
    package func append(
        _ event: NewEvent, to job: JobID, expectedVersion: Int32? = nil, atLeast level: Durability = .local,
        timeout: Duration = .seconds(10)
    ) async throws -> Appended {
        let request = AppendRequest(job: job, events: [event], expectedVersion: expectedVersion)
        return try await append([request], atLeast: level, timeout: timeout)[0].get()[0]
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
            try await answered(try await send(first, atLeast: level, timeout: timeout))
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
                    return (turn, try await send(batch, atLeast: level, timeout: timeout, connected: own.open))
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
        // If this line is not reached, a later appender removes the turns that are left.
        _ = try await pool.withConnection { try await $0.query("SELECT forget_turns($1)", appender) }
        _ = try prepared.get()
    }

    private func send(
        _ batch: AppendBatch, atLeast level: Durability, timeout: Duration, connected: @Sendable () -> Void = {}
    ) async throws -> [AppendAnswer] {
        guard batch.asksServer else { return try batch.answers(nil) }
        return try await durably(atLeast: level, within: timeout) {
            let answers = try await retrying(timeout) { connection, demand in
                connected()
                guard let statement = batch.statement(versionHints, demand: demand) else {
                    return try batch.answers(nil)
                }
                return await connection.confirmed(try batch.answers(try await connection.query(statement)))
            }
            versionHints.note(answers, to: batch.requests)
            return answers
        }
    }

    /// Runs `body` until it succeeds, fails for good, or `timeout` ends. It gets a connection and
    /// what the ledger demands.
    private func retrying<T: Sendable>(
        _ timeout: Duration, _ body: (PostgresConnection, Durability) async throws -> T
    ) async throws -> T {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        var backoff = Backoff()
        // Remembers an attempt that may have been written, even if the next one only finds the
        // server away.
        var unknownOutcome: PostgresError?
        while true {
            var isSent = false
            do {
                return try await pool.withConnection { connection in
                    let level = try await demanded.level(on: connection)
                    isSent = true
                    return try await body(connection, level)
                }
            } catch let error as PostgresError {
                if isSent, error.outcomeIsUnknown { unknownOutcome = error }
                guard error.isRetriable, ContinuousClock.now < deadline else {
                    if let unknownOutcome { throw OutcomeUnknown(reason: "\(unknownOutcome)") }
                    throw error
                }
                try await backoff.pause()
            }
        }
    }
}
