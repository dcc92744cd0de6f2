import LedgerCore
import OffPool
import Postgres

extension EventStore {
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
        var rest = requests[...]
        while !rest.isEmpty { answers += try await send(AppendBatch(taking: &rest), patience: patience) }
        return answers
    }

    /// Appends one event; throws its ``Refusal`` if it is refused.
    public func append(
        _ event: NewEvent, to job: String, expectedVersion: Int32? = nil, patience: Duration = .seconds(10)
    ) async throws -> Appended {
        let request = AppendRequest(job: job, events: [event], expectedVersion: expectedVersion)
        return try await append([request], patience: patience)[0].get()[0]
    }

    /// Appends what `next` gives, request after request in order. While the server works on one batch the next is made ready.
    ///
    /// Memory holds two batches. Answers, refusals, retries and errors are those of ``append(_:patience:)``; when `next` throws,
    /// what it gave before is still appended and answered.
    /// - Parameters:
    ///   - next: the next requests, `nil` after the last; about a thousand at a time, for more are cut into several calls.
    ///   - patience: how long to go on trying for a batch when the server is away or busy.
    ///   - answered: gets one answer a request, in order, once they are written.
    public func append(
        inOrder next: () async throws -> [AppendRequest]?, patience: Duration = .seconds(10),
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
        var prepared = try await prepare()
        while let batch = prepared {
            async let answers = send(batch, patience: patience)
            let following: Result<AppendBatch?, any Error>
            do { following = .success(try await prepare()) } catch { following = .failure(error) }
            try await answered(try await answers)
            prepared = try following.get()
        }
    }

    private func send(_ batch: AppendBatch, patience: Duration) async throws -> [AppendAnswer] {
        guard let statement = batch.statement else { return try batch.answers(nil) }
        return try batch.answers(try await retrying(patience) { try await $0.query(statement) })
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
}
