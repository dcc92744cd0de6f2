import Foundation
import LedgerCore
import OffPool
import Postgres

extension EventStore {
    /// How much goes in one call of the append function: enough to share a commit, not so much that others wait long for it.
    private static let longestBatch = 1000
    private static let largestBatch = 16 << 20
    /// What is far beyond every limit of the ledger is not sent at all.
    private static let largestText = 64 << 20

    /// Appends `requests` in their order, each on its own: one refused request fails no other.
    ///
    /// Where the connection breaks and nobody knows whether a batch was written, it is sent again with the same event ids, and
    /// what was written the first time is answered as a duplicate, at its original position.
    /// - Parameter patience: how long to go on trying when the server is away or busy.
    /// - Returns: one answer a request, in order.
    /// - Throws: ``PostgresError`` when the server cannot be reached, or says that the call is broken.
    public func append(_ requests: [AppendRequest], patience: Duration = .seconds(10)) async throws -> [AppendAnswer] {
        var answers: [AppendAnswer] = []
        answers.reserveCapacity(requests.count)
        var batch: [AppendRequest] = []
        var (events, bytes) = (0, 0)
        for request in requests {
            let size = request.events.reduce(0) { $0 + $1.data.utf8.count + $1.metadata.utf8.count + 100 }
            if !batch.isEmpty, events + request.events.count > Self.longestBatch || bytes + size > Self.largestBatch {
                answers += try await send(batch, patience: patience)
                (batch, events, bytes) = ([], 0, 0)
            }
            batch.append(request)
            events += request.events.count
            bytes += size
        }
        if !batch.isEmpty { answers += try await send(batch, patience: patience) }
        return answers
    }

    /// Appends one event; throws its ``Refusal`` if it is refused.
    public func append(
        _ event: NewEvent, to job: String, expectedVersion: Int32? = nil, patience: Duration = .seconds(10)
    ) async throws -> Appended {
        let request = AppendRequest(job: job, events: [event], expectedVersion: expectedVersion)
        return try await append([request], patience: patience)[0].get()[0]
    }

    private func send(_ batch: [AppendRequest], patience: Duration) async throws -> [AppendAnswer] {
        // What Postgres has no text for would fail the whole call, so it is answered here.
        var answers: [AppendAnswer?] = batch.map { request in
            Self.refusalBeforeSending(request).map(AppendAnswer.failure)
        }
        let sent = batch.indices.filter { answers[$0] == nil }
        if !sent.isEmpty {
            for (index, answer) in zip(sent, try await retrying(patience) { try await call(sent.map { batch[$0] }, on: $0) }) {
                answers[index] = answer
            }
        }
        return answers.map { $0! }
    }

    private static func refusalBeforeSending(_ request: AppendRequest) -> Refusal? {
        if request.events.isEmpty { return Refusal(.invalidEvent, "a request without events") }
        if request.events.count > longestBatch {
            return Refusal(.tooLarge, "\(request.events.count) events in one request; the limit is \(longestBatch)")
        }
        let texts = [request.job] + request.events.flatMap { [$0.type, $0.data, $0.metadata] }
        if let size = texts.map(\.utf8.count).max(), size > largestText {
            return Refusal(.tooLarge, "\(size) bytes in one text are too many")
        }
        return texts.contains { $0.utf8.contains(0) } ? Refusal(.invalidEvent, "U+0000 cannot be stored") : nil
    }

    /// Runs `body` until it succeeds, fails for good, or `patience` ends.
    private func retrying<T: Sendable>(
        _ patience: Duration, _ body: (PostgresConnection) async throws -> T
    ) async throws -> T {
        let deadline = ContinuousClock.now.advanced(by: patience)
        var backoff = Backoff()
        while true {
            do {
                return try await pool.withConnection(body)
            } catch let error as PostgresError where error.isRetriable && ContinuousClock.now < deadline {
                try await backoff.pause()
            }
        }
    }

    private func call(_ batch: [AppendRequest], on connection: PostgresConnection) async throws -> [AppendAnswer] {
        let events = batch.enumerated().flatMap { number, request in request.events.map { (number, request, $0) } }
        let rows = try await connection.query(
            """
            SELECT position, version, event_id, duplicate, code, message
              FROM append($1, $2, $3, $4, $5, $6, $7, $8)
             ORDER BY ordinal
            """,
            events.map { $0.1.job }, events.map { $0.2.type }, events.map { $0.2.data }, events.map { $0.2.metadata },
            events.map { $0.1.expectedVersion }, events.map { $0.2.id },
            events.map { $0.2.occurredAt.map(PostgresTimestamp.init) }, events.map { Int32($0.0) })
        guard rows.count == events.count else {
            throw Refusal(.invalidEvent, "the ledger gave \(rows.count) answers to \(events.count) events")
        }
        var next = rows.startIndex
        return try batch.map { request in
            defer { next += request.events.count }
            if let code: String = try rows[next].decode("code", as: String?.self) {
                guard let code = Refusal.Code(rawValue: code) else {
                    throw Refusal(.invalidEvent, "the ledger refused with a code unknown here: \(code)")
                }
                return .failure(Refusal(code, try rows[next].decode("message")))
            }
            return .success(
                try rows[next..<next + request.events.count].map { row in
                    Appended(
                        position: try row.decode("position"), version: try row.decode("version"),
                        eventID: try row.decode("event_id"), isDuplicate: try row.decode("duplicate"))
                })
        }
    }
}
