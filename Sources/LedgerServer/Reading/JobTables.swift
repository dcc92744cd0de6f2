import EventStore
import LedgerCore
import Postgres

/// Reads the read models `batch_jobs` and `batch_job_runs`. Each answer has the position that the
/// projection had reached in the same snapshot.
struct JobTables: Sendable {
    static let jobs = "batch_jobs"
    static let runs = "batch_job_runs"

    struct Page: Sendable {
        var position: Position
        /// JSON objects.
        var items: [String] = []
        /// The key of the last item; `nil` if no more items follow.
        var next: String?
    }

    let store: EventStore

    /// A page ends early once it has about this many bytes.
    private static let maxBytes = 4 << 20

    /// - Returns: `row` is JSON, or `nil` if there is no such job.
    func job(_ id: JobID) async throws -> (position: Position, row: String?) {
        try await store.pool.withConnection { connection in
            let row = try await connection.query(
                PostgresStatement(Self.jobStatement, [Self.jobs, id], isPrepared: true)
            ).only()
            return (try row.decode(0), try row.decode(1))
        }
    }

    private static let jobStatement =
        "SELECT (\(ProjectionPosition.sql)), (\(row))"

    /// The row of the job $2 as a JSON object, with timestamps as UTC.
    private static let row = """
        SELECT row_to_json(job)::text
          FROM (SELECT \(summary), variables, strategy, assignments_preview, results
                  FROM batch_jobs WHERE id = $2) AS job
        """

    /// The small columns, as rows show them.
    private static let summary = """
        id, name, kind, status, total, completed, created_at AT TIME ZONE 'UTC' AS created_at,
        updated_at AT TIME ZONE 'UTC' AS updated_at, completed_at AT TIME ZONE 'UTC' AS completed_at,
        error, truncated, view_url, csv_url
        """

    /// A page of jobs, newest first, without the columns that may be large.
    /// - Parameter after: the last job of the page before.
    /// - Returns: `nil` if there is no job `after`.
    func list(status: String?, kind: String?, after: JobID?, limit: Int) async throws -> Page? {
        if let after {
            guard try await exists(Self.jobExists, after) else { return nil }
        }
        let statement = Self.listStatement(status: status, kind: kind, after: after, limit: limit)
        return try await page(statement, limit: limit)
    }

    private static func listStatement(status: String?, kind: String?, after: JobID?, limit: Int) -> PostgresStatement {
        var parameters = PostgresParameters(jobs)
        var conditions = ["true"]
        if let status { conditions.append("status = \(parameters.add(status))") }
        if let kind { conditions.append("kind = \(parameters.add(kind))") }
        if let after {
            conditions.append(
                "(created_at, id) < (SELECT created_at, id FROM batch_jobs WHERE id = \(parameters.add(after)))")
        }
        return PostgresStatement(
            """
            SELECT projection.position, job.id, job.json
              FROM (\(ProjectionPosition.sql)) AS projection
              LEFT JOIN LATERAL (
                SELECT id, created_at,
                       (SELECT row_to_json(summary)::text FROM (SELECT \(summary)) AS summary) AS json
                  FROM batch_jobs
                 WHERE \(conditions.joined(separator: " AND "))
                 ORDER BY created_at DESC, id DESC LIMIT \(parameters.add(limit))
              ) AS job ON true
             ORDER BY job.created_at DESC, job.id DESC
            """, parameters.values)
    }

    private static let jobExists = "SELECT EXISTS (SELECT FROM batch_jobs WHERE id = $1)"
    private static let streamExists =
        "SELECT EXISTS (SELECT FROM events WHERE category = 'job' AND stream_id = $1 AND version = 1)"

    private func exists(_ statement: String, _ id: JobID) async throws -> Bool {
        try await store.pool.withConnection { try await $0.query(statement, id).only().decode(0) }
    }

    /// A page of a job's runs.
    /// - Parameter after: the last `run_index` of the page before.
    /// - Returns: `nil` if there is no such job.
    func runs(of id: JobID, after: Int64, limit: Int) async throws -> Page? {
        guard try await exists(Self.streamExists, id) else { return nil }
        return try await page(PostgresStatement(Self.runsStatement, [Self.runs, id, after, limit]), limit: limit)
    }

    private static let runsStatement = """
        SELECT projection.position, run.run_index::text, run.json
          FROM (\(ProjectionPosition.sql)) AS projection
          LEFT JOIN LATERAL (
            SELECT run_index,
                   (SELECT row_to_json(shown)::text
                      FROM (SELECT run_index, variables, metrics,
                                   created_at AT TIME ZONE 'UTC' AS created_at) AS shown) AS json
              FROM batch_job_runs
             WHERE batch_job_id = $2 AND run_index > $3
             ORDER BY run_index LIMIT $4
          ) AS run ON true
         ORDER BY run.run_index
        """

    /// - Parameter statement: returns rows of the position, an item's key and the item; if there
    ///   are no items, one row with nulls.
    private func page(_ statement: PostgresStatement, limit: Int) async throws -> Page {
        try await store.pool.withConnection { connection in
            var page = Page(position: 0)
            var bytes = 0
            var last: String?
            for try await row in connection.stream(statement) {
                page.position = try row.decode(0)
                guard let item = try row.decode(2, as: String?.self) else { break }
                page.items.append(item)
                last = try row.decode(1)
                bytes += item.utf8.count
                if bytes > Self.maxBytes { break }
            }
            if page.items.count == limit || bytes > Self.maxBytes { page.next = last }
            return page
        }
    }
}
