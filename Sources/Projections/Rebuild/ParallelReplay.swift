import BlockingIO
import LedgerCore
import Postgres

/// The first and longest part of a rebuild. A hash of their ids divides the streams into slices,
/// and workers fold the slices in parallel, each on a connection of its own, into the same tables.
/// Two workers never touch the same row, because a row depends on one stream.
///
/// Every worker reads all events of its windows and drops those of other slices. Reading costs a
/// fraction of folding, and workers need not pass events to each other.
struct ParallelReplay: Sendable {
    private let rebuild: Rebuild
    private let record: RebuildRecord
    private let positions: Locked<[Int: Position]>

    init(_ rebuild: Rebuild, _ record: RebuildRecord) {
        self.rebuild = rebuild
        self.record = record
        positions = Locked([:])
    }

    func run(on connection: PostgresConnection, progress: @escaping Rebuild.Progress) async throws {
        for slice in 0..<record.slices {
            let position = try await record.position(ofSlice: slice, on: connection)
            positions.withLock { $0[slice] = position }
        }
        let waiting = Locked(Array(0..<record.slices))
        let workers = min(rebuild.workers, record.slices)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<workers {
                group.addTask {
                    // The first uses the rebuild's own connection.
                    if worker == 0 { return try await foldAll(waiting, on: connection, progress) }
                    try await connection.withAnother { own in
                        try await Rebuild.prepare(own)
                        try await foldAll(waiting, on: own, progress)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// Folds waiting slices until there are none.
    private func foldAll(
        _ waiting: Locked<[Int]>, on connection: PostgresConnection, _ progress: Rebuild.Progress
    ) async throws {
        while let slice = waiting.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
            try await fold(slice, on: connection, progress)
        }
    }

    private func fold(_ slice: Int, on connection: PostgresConnection, _ progress: Rebuild.Progress) async throws {
        let isDivided = record.slices > 1
        if isDivided {
            let view = Self.eventsOfSlice(slice, of: record.slices, in: rebuild.ledger)
            try await connection.execute(script: view)
        }
        let id = record.id
        let fresh = rebuild.fresh(record)
        let steps = FoldingSteps(fold: fresh) {
            try await RebuildRecord.advance(id, slice: slice, from: $0, to: $1, on: $2)
        }
        var analysis = AnalysisSchedule()
        var position = try await record.position(ofSlice: slice, on: connection)
        while position < record.goal {
            try await rebuild.yieldToLive(on: connection)
            let step = try await steps.step(
                after: position, upTo: min(record.goal, position + rebuild.window), on: connection)
            position = try await rebuild.folded(step, record, on: connection)
            // One worker collects the statistics for all; two would wait for each other.
            if slice == 0, position < record.goal, analysis.isDue(after: position) {
                try await fresh.analyse(roughly: true, on: connection)
            }
            let reached = position
            let done = positions.withLock { positions in
                positions[slice] = reached
                return positions.values.reduce(0, +) / Int64(record.slices)
            }
            try await progress(done, record.goal)
        }
        if isDivided { try await connection.execute(script: "DROP VIEW pg_temp.new_events") }
    }

    /// Makes the session's `new_events`, which comes first in the search path: the events of a
    /// slice, from the ledger's own view.
    ///
    /// The planner takes the operator `=` here for true in one of 200 events, and then sorts
    /// instead of hashing. For the function `int4eq` it makes no such guess.
    static func eventsOfSlice(_ slice: Int, of slices: Int, in ledger: LedgerName) -> String {
        """
        CREATE OR REPLACE TEMPORARY VIEW new_events AS
          SELECT * FROM "\(ledger)".new_events
           WHERE int4eq((hashtext(stream_id) & 2147483647) % \(slices), \(slice))
        """
    }
}
