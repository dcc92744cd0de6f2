import EventStore
package import LedgerCore
package import Postgres

/// What changed in `batch_jobs` between two positions: the jobs whose rows changed, and the events
/// that changed them.
///
/// Only jobs with events in between can differ, so only their histories are folded. The
/// projection's own SQL folds them in temporary tables, a batch of jobs at a time, up to the first
/// position and then on to the second. The cost depends on the events in between and on those
/// histories, not on the length of the log. Memory holds one row.
package struct Changes: Sendable {
    package struct Change: Sendable {
        package let job: JobID
        /// Whether there was no such job at the first position.
        package let isNew: Bool
        /// A JSON object with `{"from": …, "to": …}` for each changed column, in the table's order.
        package let columns: String
        /// A JSON array of the events in between, oldest first. If there are more than
        /// ``Changes/mostEvents``, it has the latest of them.
        package let events: String
        package let eventCount: Int64
    }

    /// The most events that are listed for one job.
    package static let mostEvents = 1000
    /// How many jobs are folded together.
    private static let batch = 1000

    private let definition: ProjectionDefinition
    private let ledger: LedgerName
    private let types: String

    /// - Parameter definition: the definition of `batch_jobs`.
    package init(_ definition: ProjectionDefinition, ledger: LedgerName) {
        self.definition = definition
        self.ledger = ledger
        types = definition.consumes.map { "'\($0.rawValue)'" }.sorted().joined(separator: ", ")
    }

    /// - Parameters:
    ///   - job: the only job to compare; `nil` compares all.
    ///   - progress: called with the number of compared jobs, and of all jobs to compare.
    ///   - body: called with each change, in the order of the jobs' first events in between.
    /// - Returns: how many jobs changed.
    @discardableResult
    package func run(
        from: Position, to: Position, job: JobID? = nil, on connection: PostgresConnection,
        progress: (Int64, Int64) async throws -> Void = { _, _ in }, _ body: (Change) async throws -> Void
    ) async throws -> Int64 {
        precondition(from <= to)
        let fold = Fold(definition, ledger: ledger, schema: "pg_temp")
        return try await connection.discardedTransaction { connection in
            let total = try await choose(from, to, job, on: connection)
            try await connection.execute(script: Self.batchOfJobs + Self.events)
            try await fold.createTables(on: connection)
            try await connection.execute(
                script: "CREATE TEMPORARY TABLE job_before (LIKE pg_temp.batch_jobs INCLUDING INDEXES)")

            var changed: Int64 = 0
            for first in stride(from: Int64(0), to: total, by: Self.batch) {
                try await connection.execute(script: nextBatch(after: first))
                try await fold.apply(after: 0, upTo: from, on: connection)
                try await connection.execute(
                    script: "INSERT INTO job_before SELECT * FROM pg_temp.batch_jobs; ANALYZE job_before")
                try await fold.apply(after: from, upTo: to, on: connection)
                for try await row in connection.stream(comparison, from, to) {
                    changed += 1
                    try await body(
                        Change(
                            job: try row.decode(0), isNew: try row.decode(1), columns: try row.decode(2),
                            events: try row.decode(3), eventCount: try row.decode(4)))
                }
                try await progress(min(total, first + Int64(Self.batch)), total)
            }
            return changed
        }
    }

    /// The jobs that are folded together.
    private static let batchOfJobs = """
        CREATE TEMPORARY TABLE chosen (
          stream_id text   COLLATE "C" PRIMARY KEY,
          ordinal   bigint NOT NULL,
          events    bigint NOT NULL
        );

        """

    private static let events = AsOfEvents.view(
        """
        position > current_setting('jobledger.window_after')::bigint
        AND \(AsOfEvents.stream) IN (SELECT chosen.stream_id FROM chosen)
        """)

    /// Chooses the jobs behind the first `first`, and empties the tables for them.
    private func nextBatch(after first: Int64) -> String {
        let tables = definition.tables.map { "pg_temp.\"\($0)\"" }.joined(separator: ", ")
        return """
            TRUNCATE pg_temp.chosen, pg_temp.job_before, \(tables);
            INSERT INTO chosen
            SELECT stream_id, ordinal, events FROM touched
             WHERE ordinal > \(first) AND ordinal <= \(first + Int64(Self.batch));
            ANALYZE chosen;
            """
    }

    /// Lists the jobs with events in between in a temporary table.
    /// - Returns: how many there are.
    private func choose(_ from: Position, _ to: Position, _ job: JobID?, on connection: PostgresConnection) async throws
        -> Int64
    {
        try await connection.execute(script: Self.touchedJobs)
        let parameters: [any PostgresEncodable] = [from, to] + (job.map { [$0] } ?? [])
        let rows = try await connection.query(
            PostgresStatement(listTouched(isOneJob: job != nil), parameters))
        return Int64(rows.affected)
    }

    private static let touchedJobs = """
        CREATE TEMPORARY TABLE touched (
          ordinal   bigint PRIMARY KEY,
          stream_id text   NOT NULL,
          events    bigint NOT NULL
        )
        """

    /// Lists the jobs with events after $1 up to $2; only the job $3 if there is one.
    private func listTouched(isOneJob: Bool) -> String {
        """
        INSERT INTO touched
        SELECT row_number() OVER (ORDER BY min(position)), stream_id, count(*)
          FROM events
         WHERE category = 'job' AND position > $1 AND position <= $2 AND type IN (\(types))
               \(isOneJob ? "AND stream_id = $3" : "")
         GROUP BY stream_id
        """
    }

    /// The rows that differ, with both sides compared as JSON, so that numbers keep their digits.
    private var comparison: String {
        """
        SELECT chosen.stream_id, before.job IS NULL, change.columns::text, event.list::text, chosen.events
          FROM chosen
          LEFT JOIN LATERAL (
            SELECT row_to_json(shown) AS job
              FROM (SELECT \(JobReadModel.columns) FROM job_before AS batch_jobs
                     WHERE id = chosen.stream_id) AS shown
          ) AS before ON true
          JOIN LATERAL (
            SELECT row_to_json(shown) AS job
              FROM (SELECT \(JobReadModel.columns) FROM batch_jobs
                     WHERE id = chosen.stream_id) AS shown
          ) AS after ON true
          JOIN LATERAL (
            SELECT json_object_agg(new.key, json_build_object('from', old.value, 'to', new.value)
                                   ORDER BY new.ordinal) AS columns
              FROM json_each(after.job) WITH ORDINALITY AS new (key, value, ordinal)
              LEFT JOIN json_each(before.job) AS old (key, value) ON old.key = new.key
             WHERE coalesce(new.value::jsonb, 'null') <> coalesce(old.value::jsonb, 'null')
          ) AS change ON change.columns IS NOT NULL
          JOIN LATERAL (
            SELECT json_agg(json_build_object('position', position, 'version', version, 'type', type,
                                              'actor', metadata ->> 'actor', 'recorded_at', recorded_at)
                            ORDER BY version) AS list
              FROM (SELECT position, version, type, metadata, recorded_at FROM events
                     WHERE category = 'job' AND stream_id = chosen.stream_id
                       AND position > $1 AND position <= $2 AND type IN (\(types))
                     ORDER BY version DESC LIMIT \(Self.mostEvents)) AS latest
          ) AS event ON true
         ORDER BY chosen.ordinal
        """
    }
}
