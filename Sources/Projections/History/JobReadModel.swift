package import EventStore
package import LedgerCore
import Postgres

/// Reads `batch_jobs`, now and as of a past position.
package struct JobReadModel: Sendable {
    /// The projection of that table.
    package static let projection = "batch_jobs"

    private let store: EventStore
    private let definition: ProjectionDefinition

    package init(_ definition: ProjectionDefinition, store: EventStore) {
        self.definition = definition
        self.store = store
    }

    /// Selects the row of the job $1 as a JSON object, with the columns in the table's order and
    /// timestamps with their zone.
    package static let row = """
        SELECT row_to_json(job)::text
          FROM (SELECT \(columns) FROM batch_jobs WHERE id = $1) AS job
        """
    /// All columns, as rows show them.
    static let columns = "\(summary), variables, strategy, assignments_preview, results"
    /// The small columns, as rows show them.
    package static let summary = """
        id, name, kind, status, total, completed, created_at AT TIME ZONE 'UTC' AS created_at,
        updated_at AT TIME ZONE 'UTC' AS updated_at, completed_at AT TIME ZONE 'UTC' AS completed_at,
        error, truncated, view_url, csv_url
        """

    /// The row as it is now, as a JSON object; `nil` if there is no such job.
    ///
    /// The projection is some milliseconds behind the log. This waits until it has folded
    /// everything that was appended before the call, so that callers see their own writes, but no
    /// longer than `timeout`. A projection that is not running is not waited for.
    package func job(_ id: JobID, timeout: Duration = .seconds(2)) async throws -> String? {
        let head = try await store.head()
        let deadline = ContinuousClock.now.advanced(by: timeout)
        while let position = try await position(), position < head, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(5))
        }
        return try await store.pool.withConnection { connection in
            try await connection.query(Self.row, id).first.map { try $0.decode(0) }
        }
    }

    /// How far the projection is; `nil` if it stands still, because no projector runs or an event
    /// cannot be folded.
    private func position() async throws -> Position? {
        try await store.pool.withConnection { connection in
            try await connection.query(Self.runningPosition, definition.name).first.map { try $0.decode(0) }
        }
    }

    private static let runningPosition = """
        SELECT position FROM projections
         WHERE name = $1 AND state = 'running' AND \(ProjectionState.hasProjector)
        """

    /// The row as it was when the log ended at `position`, as a JSON object; `nil` if there was no
    /// such job. The same SQL folds the job's events up to there into a temporary table.
    package func job(_ id: JobID, at position: Position) async throws -> String? {
        let past = Fold(definition, ledger: store.ledger, schema: "pg_temp")
        return try await store.pool.withConnection { connection in
            try await connection.discardedTransaction { connection in
                try await connection.query("SELECT set_config('jobledger.job', $1, true)", id)
                try await connection.execute(
                    script: AsOfEvents.view("\(AsOfEvents.stream) = current_setting('jobledger.job')"))
                try await past.createTables(on: connection)
                try await past.apply(after: 0, upTo: position, on: connection)
                return try await connection.query(Self.row, id).first.map { try $0.decode(0) }
            }
        }
    }
}
