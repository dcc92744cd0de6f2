public import LedgerCore
import Synchronization

/// The last events that a ledger has acknowledged to this process, so that they can be appended
/// again if the ledger loses them in a failover.
///
/// One that is given to a client (``LedgerClient/remembering(_:)``) remembers what the client
/// appends. It forgets the oldest events first, so its memory is bounded. It is lost with the
/// process.
public final class AcknowledgedEvents: Sendable {
    struct Entry: Sendable {
        let number: Int64
        let request: AppendRequest
        /// Of the last event of the request.
        let position: Position
        var bytes: Int { request.events.reduce(200) { $0 + 200 + $1.data.utf8.count + $1.metadata.utf8.count } }
    }

    private struct State: Sendable {
        var entries: [Entry] = []
        /// The entries before this index are forgotten. They are removed many at a time.
        var first = 0
        var lastNumber: Int64 = 0
        var events = 0
        var bytes = 0
    }

    private let state = Mutex(State())
    private let mostEvents: Int
    private let mostBytes: Int

    /// - Parameters:
    ///   - mostEvents: how many events are remembered at most.
    ///   - mostBytes: about how much memory they may take.
    public init(mostEvents: Int = 100_000, mostBytes: Int = 64 << 20) {
        (self.mostEvents, self.mostBytes) = (mostEvents, mostBytes)
    }

    /// The number of events that are remembered.
    public var count: Int { state.withLock { $0.events } }

    func add(_ request: AppendRequest, at position: Position) {
        state.withLock { state in
            state.lastNumber += 1
            let entry = Entry(number: state.lastNumber, request: request, position: position)
            state.entries.append(entry)
            state.events += request.events.count
            state.bytes += entry.bytes
            while state.events > mostEvents || state.bytes > mostBytes, state.first < state.entries.count {
                let oldest = state.entries[state.first]
                state.events -= oldest.request.events.count
                state.bytes -= oldest.bytes
                state.first += 1
            }
            if state.first > 1024, state.first > state.entries.count / 2 {
                state.entries.removeFirst(state.first)
                state.first = 0
            }
        }
    }

    /// The requests with an event behind a position, in the order in which they were acknowledged.
    func entries(behind position: Position) -> [Entry] {
        state.withLock { state in state.entries[state.first...].filter { $0.position > position } }
    }

    /// Forgets entries, because they were appended again or refused.
    func forget(_ numbers: Set<Int64>) {
        state.withLock { state in
            state.entries.removeFirst(state.first)
            state.first = 0
            for entry in state.entries where numbers.contains(entry.number) {
                state.events -= entry.request.events.count
                state.bytes -= entry.bytes
            }
            state.entries.removeAll { numbers.contains($0.number) }
        }
    }
}

/// What came of appending acknowledged events again.
public struct AppendedAgain: Sendable {
    /// The events as they were appended the first time.
    public let request: AppendRequest
    /// Their places now. `isDuplicate` says that an event was not lost. A refusal says why the
    /// ledger does not take them any more: `unknown_job`, for example, if the job's first event is
    /// lost.
    public let answer: AppendAnswer
}

extension LedgerClient {
    /// The same client, which remembers what the ledger acknowledges to it.
    public func remembering(_ memory: AcknowledgedEvents) -> LedgerClient {
        var client = self
        client.memory = memory
        return client
    }

    /// Appends again what the ledger had acknowledged behind the last place that its history shares
    /// with ours: in the same order, with the same event ids, and what was one request as one.
    ///
    /// An event that was not lost is not written twice. If this throws, call it again.
    ///
    ///     let memory = AcknowledgedEvents()
    ///     let ledger = try LedgerClient(url: url, token: token).remembering(memory)
    ///     let events = ledger.subscribe(after: lastPlace).goingOn { divergence in
    ///         for again in try await ledger.appendAgain(after: divergence) { … }
    ///     }
    ///
    /// - Returns: an answer a request.
    /// - Throws: ``LedgerClientError``; of the kind `configuration` if the client remembers
    ///   nothing.
    public func appendAgain(after divergence: Divergence) async throws -> [AppendedAgain] {
        guard let memory else {
            throw LedgerClientError(
                .configuration, "this client does not remember what was acknowledged: see remembering(_:)")
        }
        var again: [AppendedAgain] = []
        var rest = memory.entries(behind: divergence.shared.position)[...]
        while let first = rest.first {
            if first.request.events.count > 1 {
                again.append(AppendedAgain(request: first.request, answer: try await answer(to: first.request)))
                memory.forget([first.number])
                rest.removeFirst()
                continue
            }
            var bytes = 0
            let batch = rest.prefix(AppendLimits.eventsInRequest).prefix { entry in
                bytes += entry.bytes
                return entry.request.events.count == 1 && (entry.number == first.number || bytes <= Self.mostAgain)
            }
            let answers = try await append(batch.map(\.request))
            again += zip(batch, answers).map { AppendedAgain(request: $0.request, answer: $1) }
            memory.forget(Set(batch.map(\.number)))
            rest.removeFirst(batch.count)
        }
        return again
    }

    /// The most bytes of a request with events that are appended again.
    private static let mostAgain = 4 << 20

    private func answer(to request: AppendRequest) async throws -> AppendAnswer {
        do {
            return .success(
                try await append(
                    request.events, to: request.job, category: request.category,
                    expectedVersion: request.expectedVersion))
        } catch let refusal as Refusal {
            return .failure(refusal)
        }
    }
}
