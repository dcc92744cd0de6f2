import LedgerCore

/// The moment of a list, with the SQL of what was so at it. The SQL is about a row `job` of
/// `job_list`.
///
/// For the present the conditions leave out what holds for every row.
struct ListedMoment: Sendable {
    let position: Position
    /// Whether the read model has come further.
    let isPast: Bool

    private var p: String { "\(position)::bigint" }

    /// As `job_list_while_queued` and `job_list_while_running` have them.
    private static let whileQueued = "int8range(queued_position, coalesce(started_position, ended_position))"
    private static let whileRunning = "started_position IS NOT NULL AND int8range(started_position, ended_position)"

    /// That the job was there; `nil` if all are.
    var isThere: String? { isPast ? "queued_position <= \(p)" : nil }

    var hasStarted: String { isPast ? "started_position <= \(p)" : "started_position IS NOT NULL" }

    var hasNotStarted: String {
        isPast
            ? "(\(Self.whileQueued) @> \(p) OR started_position IS NULL AND queued_position <= \(p))"
            : "started_position IS NULL"
    }

    var hasEnded: String { isPast ? "ended_position <= \(p)" : "ended_position IS NOT NULL" }

    var isOpen: String {
        isPast
            ? "(\(Self.whileQueued) @> \(p) OR \(Self.whileRunning) @> \(p))" : "status IN ('queued', 'running')"
    }

    func isTruncated(_ wanted: Bool) -> String {
        switch (isPast, wanted) {
        case (false, true): "truncated_position IS NOT NULL"
        case (false, false): "truncated_position IS NULL"
        case (true, true): "truncated_position <= \(p)"
        case (true, false): "(truncated_position > \(p) OR truncated_position IS NULL)"
        }
    }

    /// That the status was one of these; `nil` if each is.
    func `is`(_ statuses: Set<JobListQuery.Status>) -> String? {
        guard !statuses.isEmpty, statuses.count < JobListQuery.Status.allCases.count else { return nil }
        let wanted = JobListQuery.Status.allCases.filter(statuses.contains)
        guard isPast else { return "status IN (\(wanted.map { "'\($0.rawValue)'" }.joined(separator: ", ")))" }
        let conditions = wanted.map { status in
            switch status {
            case .queued: "\(Self.whileQueued) @> \(p)"
            case .running: "\(Self.whileRunning) @> \(p)"
            case .finished, .failed: "status = '\(status.rawValue)' AND ended_position <= \(p)"
            }
        }
        return "(\(conditions.joined(separator: " OR ")))"
    }

    // MARK: Rows

    /// The position of the job's latest event.
    var lastPosition: String {
        isPast
            ? """
            CASE WHEN last_position <= \(p) THEN last_position
                 ELSE (SELECT last_position FROM (\(past)) AS past) END
            """ : "last_position"
    }

    /// The jobs with events after a position, with the last of each. OFFSET 0 has Postgres read the
    /// log along its positions.
    func lastPositions(after start: Position) -> String {
        """
        SELECT stream_id::text COLLATE "default" AS recent_id, max(position) AS recent_position
          FROM (SELECT category, stream_id, position FROM events
                 WHERE position > \(start) AND position <= \(p)
                   AND position <> ALL (ARRAY(\(Self.skipped))) OFFSET 0) AS recent
         WHERE category = 'job'
         GROUP BY stream_id
        """
    }

    /// Joins what the job's events up to the moment say, as `past`, where there are later ones.
    var joinOfPast: String { isPast ? "CROSS JOIN LATERAL (\(past)) AS past" : "" }

    /// What the events up to the moment say of a job that goes on behind it. They are read from the
    /// job's last mark on. A job that is queued, and no more, has one event.
    ///
    /// IS TRUE keeps Postgres from the index of positions: near the beginning of the log it would
    /// read all events up to the moment for each job. An event that an operator had the projection
    /// skip does not count.
    private var past: String {
        """
        SELECT max(tail.position)                                               AS last_position,
               max(tail.version)                                                AS last_version,
               max(tail.recorded_at)                                            AS last_recorded_at,
               greatest(max(mark.updated_at AT TIME ZONE 'UTC'),
                        max(coalesce(tail.occurred_at, tail.recorded_at)))      AS updated_at,
               coalesce(greatest(max(mark.completed), max(tail.completed)), 0)  AS completed,
               max(tail.version::bigint << 32 | tail.total) & 4294967295        AS total
          FROM (VALUES (1)) AS one
          LEFT JOIN LATERAL (
            SELECT version, completed, updated_at FROM job_list_marks
             WHERE job_list_marks.id = job.id AND job_list_marks.position <= \(p)
               AND job.last_position > \(p)
             ORDER BY job_list_marks.position DESC LIMIT 1
          ) AS mark ON true
          LEFT JOIN events AS tail
                 ON tail.category = 'job' AND tail.stream_id = job.id COLLATE "C" AND job.last_position > \(p)
                AND tail.version >= coalesce(mark.version, 1)
                AND tail.version <= CASE WHEN least(job.started_position, job.truncated_position) <= \(p)
                                         THEN coalesce(mark.version, 0) + 32 ELSE 1 END
                AND (tail.position <= \(p)) IS TRUE
                AND tail.position <> ALL (ARRAY(\(Self.skipped)))
        """
    }

    private static let skipped = """
        SELECT skipped.position FROM skipped_events AS skipped
          JOIN projections AS projected
            ON projected.name = skipped.projection AND projected.definition = skipped.definition
         WHERE projected.name = '\(JobList.projection)'
        """

    /// The columns of a job as it was, for a query with `job` and the join of `past`.
    var shown: String {
        func past(_ now: String, _ then: String) -> String {
            isPast ? "CASE WHEN job.last_position <= \(p) THEN \(now) ELSE \(then) END" : now
        }
        func utc(_ column: String) -> String { "\(column) AT TIME ZONE 'UTC'" }
        func when(_ condition: String, _ column: String) -> String {
            isPast ? "CASE WHEN \(condition) THEN \(column) END" : column
        }
        let status = past("status", "CASE WHEN \(hasStarted) THEN 'running' ELSE 'queued' END")
        let total = past(
            "job.total", "CASE WHEN past.total > 0 THEN greatest(past.total::integer, past.completed) ELSE 0 END")
        return """
            job.id, name, kind, \(status) AS status,
            \(total) AS total,
            \(past("job.completed", "past.completed")) AS completed,
            \(utc("created_at")) AS created_at,
            \(past(utc("job.updated_at"), "past.updated_at")) AS updated_at,
            \(when(hasEnded, utc("completed_at"))) AS completed_at,
            \(when(hasEnded, "error")) AS error,
            coalesce(\(isTruncated(true)), false) AS truncated,
            \(when(hasEnded, "view_url")) AS view_url,
            \(when(hasEnded, "csv_url")) AS csv_url,
            actor,
            \(when(hasStarted, utc("started_at"))) AS started_at,
            queued_position,
            \(past("job.last_position", "past.last_position")) AS last_position,
            \(past("job.last_version", "past.last_version")) AS last_version,
            \(past(utc("job.last_recorded_at"), "past.last_recorded_at")) AS last_recorded_at
            """
    }
}
