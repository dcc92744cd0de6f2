public import LedgerCore

/// Sends the events of concurrent callers together: whatever arrives during one request is sent in
/// the next.
///
/// Each event gets its own answer or refusal. There are no timers: a single caller is served at
/// once. Get one from ``LedgerClient/withBatches(_:)``.
public actor AppendBatches {
    /// The maximum size of a request; a larger event is sent alone.
    private static let maxBytes = 4 << 20

    private struct Entry {
        let ticket: Int
        let request: AppendRequest
        let caller: CheckedContinuation<Appended, any Error>
    }

    private let client: LedgerClient
    private var lastTicket = 0
    private var waiting: [Entry] = []
    /// The callers whose request is under way, by ticket.
    private var callers: [Int: CheckedContinuation<Appended, any Error>] = [:]
    private var isOpen = true
    private let wakes: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation

    init(_ client: LedgerClient) {
        self.client = client
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Appends one event, and returns when it is written.
    ///
    /// If the caller is cancelled while the event waits, the event is not written. If it is
    /// cancelled later, the event may have been written: to find out, append it again with the same
    /// id.
    /// - Throws: ``/LedgerCore/Refusal``, ``LedgerClientError``, `CancellationError`.
    @discardableResult
    public func append(
        _ event: NewEvent, to job: JobID, category: Category = .job, expectedVersion: Int32? = nil
    ) async throws -> Appended {
        try event.checkTexts()
        lastTicket += 1
        let ticket = lastTicket
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { caller in
                if Task.isCancelled { return caller.resume(throwing: CancellationError()) }
                guard isOpen else {
                    return caller.resume(throwing: LedgerClientError(.configuration, "the batches have ended"))
                }
                let request = AppendRequest(
                    category: category, job: job, events: [event], expectedVersion: expectedVersion)
                waiting.append(Entry(ticket: ticket, request: request, caller: caller))
                wake.yield()
            }
        } onCancel: {
            Task { await self.cancel(ticket) }
        }
    }

    private func cancel(_ ticket: Int) {
        if let index = waiting.firstIndex(where: { $0.ticket == ticket }) {
            waiting.remove(at: index).caller.resume(throwing: CancellationError())
        } else {
            callers.removeValue(forKey: ticket)?.resume(throwing: CancellationError())
        }
    }

    /// Sends until ``stop()``, and then what still waits.
    func run() async {
        for await _ in wakes { await sendWaiting() }
        await sendWaiting()
    }

    func stop() {
        isOpen = false
        wake.finish()
    }

    private func sendWaiting() async {
        while !waiting.isEmpty {
            let batch = takeBatch()
            for entry in batch { callers[entry.ticket] = entry.caller }
            let answers: Result<[AppendAnswer], any Error>
            do { answers = .success(try await client.append(batch.map(\.request))) } catch { answers = .failure(error) }
            for (index, entry) in batch.enumerated() {
                callers.removeValue(forKey: entry.ticket)?.resume(with: Result { try answers.get()[index].get()[0] })
            }
        }
    }

    private func takeBatch() -> [Entry] {
        var bytes = 0
        let batch = waiting.prefix(AppendLimits.eventsInRequest).prefix { entry in
            let isFirst = bytes == 0
            bytes += 200 + entry.request.events[0].data.utf8.count + entry.request.events[0].metadata.utf8.count
            return isFirst || bytes <= Self.maxBytes
        }
        waiting.removeFirst(batch.count)
        return Array(batch)
    }
}

extension LedgerClient {
    /// Runs `body` with batches, and finishes what was appended before it returns.
    public func withBatches<Value: Sendable>(_ body: (AppendBatches) async throws -> Value) async throws -> Value {
        let batches = AppendBatches(self)
        async let running: Void = batches.run()
        let result: Result<Value, any Error>
        do { result = .success(try await body(batches)) } catch { result = .failure(error) }
        await batches.stop()
        await running
        return try result.get()
    }
}
