package import EventStore
package import LedgerCore
import Postgres

/// Reads of `batch_jobs`, now and as of a past position.
package struct JobReadModel: Sendable {
    /// The projection that makes the table.
    package static let projection = "batch_jobs"

    private let store: EventStore
    private let definition: ProjectionDefinition

    package init(_ definition: ProjectionDefinition, store: EventStore) {
        self.definition = definition
        self.store = store
    }

    /// A job's row as JSON, in the table's order of columns, its timestamps with their zone; `nil`
    /// where there is none.
    package static let row = """
        SELECT row_to_json(job)::text
          FROM (SELECT \(columns) FROM batch_jobs WHERE id = $1) AS job
        """
    /// All columns, as they are shown.
    static let columns = "\(summary), variables, strategy, assignments_preview, results"
    /// The columns that are small, as they are shown.
    package static let summary = """
        id, name, kind, status, total, completed, created_at AT TIME ZONE 'UTC' AS created_at,
        updated_at AT TIME ZONE 'UTC' AS updated_at, completed_at AT TIME ZONE 'UTC' AS completed_at,
        error, truncated, view_url, csv_url
        """

    /// The row as it is now.
    ///
    /// The projection runs behind the log by some milliseconds: whoever has just appended gets to
    /// see it, if that is folded within `timeout`. A projection that does not run is not waited for
    /// longer than that.
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

    /// How far the projection is; `nil` when it stands still, for lack of a projector or for an
    /// event that cannot be folded.
    private func position() async throws -> Position? {
        try await store.pool.withConnection { connection in
            try await connection.query(
                """
                SELECT position FROM projections
                 WHERE name = $1 AND state = 'running'
                   AND EXISTS (SELECT FROM leases WHERE leases.name = 'projection:' || $1 AND is_held(expires_at))
                """, definition.name
            ).first.map { try $0.decode(0) }
        }
    }

    /// The row as it was when the log ended at `position`: the job's events up to there, folded by
    /// the same SQL into a temporary table.
    package func job(_ id: JobID, at position: Position) async throws -> String? {
        let past = Fold(definition, ledger: store.ledger, schema: "pg_temp")
        return try await store.pool.withConnection { connection in
            try await connection.discardedTransaction { connection in
                // Temporary names come first: this window has one job's events, found by its
                // stream.
                try await connection.query("SELECT set_config('jobledger.job', $1, true)", id)
                try await connection.execute(
                    script: "SET LOCAL jobledger.window_upto = '0'; SET LOCAL jobledger.window_types = '';"
                        + AsOfEvents.view("stream_id = current_setting('jobledger.job')"))
                try await past.createTables(on: connection)
                try await past.apply(after: 0, upTo: position, on: connection)
                return try await connection.query(Self.row, id).first.map { try $0.decode(0) }
            }
        }
    }
}
