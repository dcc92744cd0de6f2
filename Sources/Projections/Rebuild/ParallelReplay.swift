import BlockingIO
import LedgerCore
import Postgres

/// The first and longest part of a rebuild: the streams are divided into slices by a hash of their
/// ids, and workers fold them side by side, each on a connection of its own, into the same tables.
/// Two never touch one row, for a row depends on one stream.
///
/// Every worker reads all events of its windows and drops those of others: reading costs a fraction
/// of folding, and nothing has to be handed over.
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
                    // The first has the rebuild's own connection.
                    let own = worker == 0 ? connection : try await connection.another()
                    do {
                        if worker > 0 { try await Rebuild.prepare(own) }
                        while let slice = waiting.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
                            try await fold(slice, on: own, progress)
                        }
                    } catch {
                        if worker > 0 { await own.close() }
                        throw error
                    }
                    if worker > 0 { await own.close() }
                }
            }
            try await group.waitForAll()
        }
    }

    private func fold(_ slice: Int, on connection: PostgresConnection, _ progress: Rebuild.Progress) async throws {
        let isDivided = record.slices > 1
        if isDivided {
            // Temporary names come first: for this session new_events are those of its slice. The
            // function, where an operator would do, keeps the planner from taking a slice for a
            // two-hundredth of the events, and so from sorting what it should hash.
            try await connection.execute(
                script: """
                    CREATE OR REPLACE TEMPORARY VIEW new_events AS
                      SELECT * FROM "\(rebuild.ledger.text)".new_events
                       WHERE int4eq((hashtext(stream_id) & 2147483647) % \(record.slices), \(slice))
                    """)
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
            // One counts for all; two would wait for each other.
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
}
