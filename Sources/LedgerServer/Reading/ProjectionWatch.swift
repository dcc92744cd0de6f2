import EventStore
import LedgerCore
import Postgres

/// Waits until a projection has reached a position. Concurrent waits share their queries.
actor ProjectionWatch {
    private struct State: Sendable {
        let position: Position
        /// The error that stopped the projection.
        let error: String?
    }

    private let store: EventStore
    private let limit: Duration
    /// Queries under way, by projection.
    private var reads: [String: Task<State, any Error>] = [:]  // plain: names of projections, our own

    /// How often the position is read.
    private static let interval = Duration.milliseconds(5)

    /// - Parameter limit: the longest wait.
    init(store: EventStore, limit: Duration) {
        self.store = store
        self.limit = limit
    }

    /// - Throws: a ``Problem`` with the projection's position, if it does not get there in time or
    ///   has stopped.
    func wait(for position: Position, of projection: String) async throws {
        let deadline = ContinuousClock.now.advanced(by: limit)
        while true {
            let state = try await read(projection)
            if state.position >= position { return }
            if let error = state.error {
                throw behind(
                    state, position, projection,
                    "the projection \(projection) has stopped at position \(state.position): "
                        + error.shortened(toBytes: 300))
            }
            guard ContinuousClock.now < deadline else {
                throw behind(
                    state, position, projection,
                    "the projection \(projection) is at position \(state.position) and has not reached \(position) "
                        + "within \(limit)")
            }
            try await Task.sleep(for: Self.interval)
        }
    }

    private func behind(_ state: State, _ position: Position, _ projection: String, _ detail: String) -> Problem {
        Problem.unavailable(detail, code: "not_projected_yet").adding("position", json: "\(state.position)")
            .adding("min_position", json: "\(position)").adding(.ledgerPosition, "\(state.position)")
    }

    private func read(_ projection: String) async throws -> State {
        if let read = reads[projection] { return try await read.value }
        let task = Task { [store] in
            try await store.pool.withConnection { connection in
                try await connection.query(
                    PostgresStatement(
                        "SELECT position, left(error, 300) FROM projections WHERE name = $1", [projection],
                        isPrepared: true)
                ).first.map { State(position: try $0.decode(0), error: try $0.decode(1)) }
                    ?? State(position: 0, error: nil)
            }
        }
        reads[projection] = task
        defer { reads[projection] = nil }
        return try await task.value
    }
}
