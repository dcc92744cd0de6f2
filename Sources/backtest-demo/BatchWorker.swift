import Backtest
import EventStore
import Foundation
import LedgerCore
import Synchronization

/// Computes the runs of a batch and reports to the ledger: queued, truncated if there is a limit,
/// progress, and at last finished or failed.
struct BatchWorker: Sendable {
    let batch: Batch
    let job: JobID
    let limit: Int?
    let store: EventStore

    /// The number of runs in one progress event.
    private static let share = 50
    private static let workers = 2

    private struct Queued: Encodable {
        var name = "Moving-average crossover on daily closes"
        var kind = "local"
        var variables: [Variable]
        var strategy = ["buy": "sma(fast) > sma(slow)", "sell": "sma(fast) <= sma(slow)"]
        var assignmentsPreview: [Assignment]
    }

    private struct Truncated: Encodable {
        var reason = "limit"
        var limit: Int
        var dropped: Int
    }

    private struct Progress: Encodable {
        var completed: Int
        var runs: [Run]
    }

    private struct Finished: Encodable {
        struct Results: Encodable {
            var summary: BatchSummary?
            var runs: [Run]
        }
        var results: Results
    }

    private struct Failed: Encodable {
        var error: String
    }

    func run() async throws {
        try await append("queued", Queued(variables: batch.grid.variables, assignmentsPreview: batch.grid.preview()))
        let count = min(limit ?? batch.count, batch.count)
        if count < batch.count { try await append("truncated", Truncated(limit: count, dropped: batch.count - count)) }
        do {
            let runs = try await compute(count)
            try await append("finished", Finished(results: .init(summary: batch.summary(of: runs), runs: runs)))
        } catch {
            try await append("failed", Failed(error: "\(error)"))
            throw error
        }
    }

    /// Several workers take shares from one list. Their reports may arrive out of order: the read
    /// model keeps the highest number of completed runs.
    private func compute(_ count: Int) async throws -> [Run] {
        let shares = batch.ranges(of: Self.share).map { $0.clamped(to: 0..<count) }.filter { !$0.isEmpty }
        let progress = Counters()
        return try await withThrowingTaskGroup(of: [Run].self) { group in
            for _ in 0..<Self.workers {
                group.addTask {
                    var mine: [Run] = []
                    while let share = progress.takeShare(of: shares) {
                        let runs = batch.runs(in: share)
                        mine += runs
                        try await append("progress", Progress(completed: progress.complete(runs.count), runs: runs))
                    }
                    return mine
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }.sorted { $0.index < $1.index }
        }
    }

    private final class Counters: Sendable {
        private let taken = Atomic(0)
        private let completed = Atomic(0)

        func takeShare(of shares: [Range<Int>]) -> Range<Int>? {
            let number = taken.wrappingAdd(1, ordering: .relaxed).oldValue
            return number < shares.count ? shares[number] : nil
        }

        func complete(_ count: Int) -> Int { completed.wrappingAdd(count, ordering: .relaxed).newValue }
    }

    private func append(_ type: String, _ data: some Encodable) async throws {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = .sortedKeys
        let event = NewEvent(
            type: type, data: String(decoding: try encoder.encode(data), as: UTF8.self),
            metadata: #"{"actor":"backtest-demo"}"#)
        _ = try await store.append(event, to: job)
    }
}
