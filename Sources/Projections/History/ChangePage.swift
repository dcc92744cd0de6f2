import EventStore
package import LedgerCore
package import Postgres

/// A part of what changed in a read model between two positions, with the event that made each
/// change. Its cost has a bound, whatever the length of the log and of the range.
///
/// Streams come in the order of their first events in between. A page looks at a limited part of
/// the range for such events, folds histories of a limited length, and folds a limited number of
/// events one by one, which tells what each of them changed.
package struct ChangePage: Sendable {
    package struct Change: Sendable {
        package let stream: JobID
        /// The rows at both positions, as JSON objects; `nil` where there is none.
        package let before: String?
        package let after: String?
        /// A JSON array with an object for each changed column, in the table's order.
        package let columns: String
        /// How many events the stream has in between.
        package let eventCount: Int64
    }

    package var changes: [Change] = []
    /// The position after which the next page begins; `nil` if nothing follows.
    package var next: Position?

    /// How many positions of the range a page looks at.
    package static let mostScanned: Int64 = 50_000
    /// The length of all histories that a page folds. A longer one has a page of its own.
    static let mostFolded: Int64 = 100_000
    /// How many events a page folds one by one: the latest of a stream that has more in between.
    package static let mostTraced: Int64 = 2_000
    /// A page ends early once it has about this many bytes.
    static let mostBytes = 4 << 20
}

extension Changes {
    /// A page of what changed between two positions.
    /// - Parameters:
    ///   - stream: the only stream to compare. Then there is one page.
    ///   - after: the ``ChangePage/next`` of the page before.
    ///   - limit: the most streams that are compared.
    /// - Throws: ``NoRows``, or ``DependsOnTheLog`` if rows depend on more than their stream.
    package func page(
        from: Position, to: Position, stream: JobID? = nil, after: Position? = nil, limit: Int,
        on connection: PostgresConnection
    ) async throws -> ChangePage {
        precondition(from <= to)
        try definition.requireStreamKey()
        let shown = try definition.rows(of: category)
        let start = min(to, max(from, after ?? from))
        let end = stream == nil ? min(to, start + ChangePage.mostScanned) : to
        return try await connection.discardedTransaction(.repeatableRead) { connection in
            try await connection.execute(script: Self.chosen)
            let touched =
                if let stream {
                    PostgresStatement(Self.touchedByOne, [from, to, category.text, stream])
                } else {
                    PostgresStatement(Self.touched, [start, end, category.text, from, limit + 1])
                }
            try await connection.query(touched)
            // One more than the limit only tells that more follow.
            let cut = try await connection.query(Self.cut, limit, ChangePage.mostFolded, ChangePage.mostTraced)
            var page = ChangePage()
            if stream == nil {
                page.next = try cut.only().decode(0, as: Position?.self) ?? (end < to ? end : nil)
            }
            let fold = Fold(definition, ledger: ledger, schema: "pg_temp")
            let rows = try await foldBoth(fold, shown, from, to, on: connection)
            try await read(comparison(rows), into: &page, on: connection)
            return page
        }
    }

    private func read(
        _ comparison: String, into page: inout ChangePage, on connection: PostgresConnection
    ) async throws {
        var bytes = 0
        var last: Position = 0
        for try await row in connection.stream(comparison) {
            if bytes > ChangePage.mostBytes {
                page.next = last
                return
            }
            let change = ChangePage.Change(
                stream: try row.decode(0), before: try row.decode(1), after: try row.decode(2),
                columns: try row.decode(3), eventCount: try row.decode(4))
            last = try row.decode(5)
            page.changes.append(change)
            bytes += [change.columns, change.before ?? "", change.after ?? ""].reduce(0) { $0 + $1.utf8.count }
        }
    }

    // MARK: Choosing streams

    /// The streams of the page, with their first event in between, and all that they have.
    private static let chosen = """
        CREATE TEMPORARY TABLE chosen (
          stream_id    text    COLLATE "C" PRIMARY KEY,
          ordinal      bigint  NOT NULL,
          first        bigint  NOT NULL,
          version      integer NOT NULL,
          last_version integer NOT NULL,
          events       bigint
        )
        """

    private static let lastVersion = """
        (SELECT e.version FROM events AS e
          WHERE e.category = $3 AND e.stream_id = found.stream_id ORDER BY e.version DESC LIMIT 1)
        """

    /// The streams of the category $3 whose first event after $4 is one of those after $1 up to $2;
    /// at most $5. A stream whose earlier event is also after $4 was on an earlier page. IS TRUE
    /// keeps Postgres from the index of streams, which has the category too: the range is read
    /// along the log.
    private static let touched = """
        INSERT INTO chosen (stream_id, ordinal, first, version, last_version)
        SELECT stream_id, row_number() OVER (ORDER BY first), first, version, \(lastVersion)
          FROM (SELECT sorted.*
                  FROM (SELECT stream_id, min(position) AS first, min(version) AS version
                          FROM events
                         WHERE (category = $3) IS TRUE AND position > $1 AND position <= $2
                         GROUP BY stream_id
                         ORDER BY first
                        OFFSET 0) AS sorted
                 WHERE coalesce((SELECT earlier.position FROM events AS earlier
                                  WHERE earlier.category = $3 AND earlier.stream_id = sorted.stream_id
                                    AND earlier.version = sorted.version - 1), 0) <= $4
                 ORDER BY first
                 LIMIT $5) AS found
        """

    /// The stream $4 of the category $3, if it has an event after $1 up to $2.
    private static let touchedByOne = """
        INSERT INTO chosen (stream_id, ordinal, first, version, last_version)
        SELECT stream_id, 1, position, version, \(lastVersion)
          FROM (SELECT stream_id, position, version
                  FROM events
                 WHERE category = $3 AND stream_id = $4 AND position > $1 AND position <= $2
                 ORDER BY version LIMIT 1) AS found
        """

    /// Keeps the first $1 streams, and as many of them as have together no more than $2 events, and
    /// no more than $3 that are folded one by one; one stream in any case.
    /// - Returns: where the last one that is kept begins, if one was left out; null otherwise.
    private static let cut = """
        WITH cost AS (
          SELECT ordinal, sum(last_version) OVER preceding AS folded,
                 sum(least(last_version - version + 1, $3)) OVER preceding AS traced
            FROM chosen WINDOW preceding AS (ORDER BY ordinal)
        ), gone AS (
          DELETE FROM chosen USING cost
           WHERE cost.ordinal = chosen.ordinal AND chosen.ordinal > 1
             AND (cost.ordinal > $1 OR cost.folded > $2 OR cost.traced > $3)
          RETURNING chosen.ordinal
        )
        SELECT (SELECT first FROM chosen WHERE ordinal = (SELECT min(ordinal) - 1 FROM gone))
        """

    // MARK: Folding

    /// Folds the streams up to both positions, and notes what each event in between changed.
    private func foldBoth(
        _ fold: Fold, _ shown: StreamTable, _ from: Position, _ to: Position, on connection: PostgresConnection
    ) async throws -> StreamRows {
        try await connection.execute(script: "ANALYZE chosen;" + Fold.consumed(by: definition) + events)
        try await fold.createTables(on: connection)
        let rows = try await StreamRows.of(shown, of: category, in: fold.schema, on: connection)
        try await fold.apply(after: 0, upTo: from, on: connection)
        try await connection.execute(
            script: """
                CREATE TEMPORARY TABLE \(Self.rowsBefore) (LIKE \(rows.table) INCLUDING INDEXES);
                INSERT INTO \(Self.rowsBefore) SELECT * FROM \(rows.table);
                ANALYZE \(Self.rowsBefore);
                """)
        try await connection.execute(script: Self.steps)
        try await connection.query(listSteps, to, ChangePage.mostTraced)
        // A stream with more events than are folded one by one is alone on its page.
        let split = try await connection.query(Self.countSteps, ChangePage.mostTraced).only().decode(
            0, as: Position?.self)
        if let split { try await fold.apply(after: from, upTo: split, on: connection) }

        let traced = TracedFold(definition, rows, ledger: ledger)
        try await connection.execute(script: "DROP VIEW new_events;" + TracedFold.oneEvent)
        try await connection.execute(script: traced.tables)
        try await connection.query(traced.addStreams("chosen"))
        try await fold.analyse(on: connection)
        try await connection.execute(
            script: Fold.planning + TracedFold.settings(of: definition, ledger: ledger))
        try await connection.query(Self.traceSteps, definition.name, definition.hash)
        try await connection.execute(script: Fold.planningAsUsual)
        return rows
    }

    /// The events in between that are folded one by one. Has a space in its name, unlike every
    /// table of a projection.
    private static let stepTable = "pg_temp.\"events in between\""
    private static let steps = """
        CREATE TEMPORARY TABLE \(stepTable) (
          position  bigint  PRIMARY KEY,
          stream_id text    COLLATE "C" NOT NULL,
          version   integer NOT NULL
        )
        """

    /// Lists the latest $2 events of each stream up to $1.
    private var listSteps: String {
        """
        INSERT INTO \(Self.stepTable)
        SELECT step.position, chosen.stream_id, step.version
          FROM chosen, LATERAL (
                 SELECT e.position, e.version FROM events AS e
                  WHERE e.category = '\(category)' AND e.stream_id = chosen.stream_id
                    AND e.version >= chosen.version AND e.position <= $1
                  ORDER BY e.version DESC LIMIT $2) AS step
        """
    }

    /// Counts the events in between of each stream.
    /// - Returns: if there are more than $1, the last position in front of those that are listed.
    private static let countSteps = """
        WITH counted AS (
          UPDATE chosen SET events = step.last - chosen.version + 1
            FROM (SELECT stream_id, max(version) AS last, min(position) AS first FROM \(stepTable)
                   GROUP BY stream_id) AS step
           WHERE step.stream_id = chosen.stream_id
          RETURNING chosen.events, step.first
        )
        SELECT (SELECT min(first) - 1 FROM counted WHERE events > $1)
        """

    /// Folds the listed events one by one, but for those that the projection $1 with the definition
    /// $2 has skipped. The function compares ids as its argument does, and only in this collation
    /// by an index.
    private static let traceSteps = """
        SELECT count(pg_temp.fold_event(stream_id COLLATE "default", position))
          FROM (SELECT stream_id, position FROM \(stepTable) AS step
                 WHERE NOT \(TracedFold.isSkipped("step.position", "$1", "$2"))
                 ORDER BY position) AS step
        """

    // MARK: Comparing

    /// The rows that differ, compared as in ``run(from:to:stream:on:progress:_:)``. A row that is
    /// gone differs in every column that had a value.
    private func comparison(_ rows: StreamRows) -> String {
        func row(_ table: String) -> String {
            """
            SELECT row_to_json(stream) AS row
              FROM (SELECT \(rows.columns) FROM \(table) AS shown
                     WHERE \(rows.condition("chosen.stream_id COLLATE \"default\""))) AS stream
            """
        }
        return """
            SELECT chosen.stream_id, before.row::text, after.row::text, change.columns::text, chosen.events,
                   chosen.first
              FROM chosen
              LEFT JOIN LATERAL (\(row(Self.rowsBefore))) AS before ON true
              LEFT JOIN LATERAL (\(row(rows.table))) AS after ON true
              JOIN LATERAL (
                SELECT json_agg(column_change ORDER BY shown_column.ordinal) AS columns
                  FROM json_object_keys(coalesce(after.row, before.row)) WITH ORDINALITY AS shown_column (key, ordinal)
                  LEFT JOIN json_each(before.row) AS old ON old.key = shown_column.key
                  LEFT JOIN json_each(after.row) AS new ON new.key = shown_column.key
                  LEFT JOIN \(TracedFold.table) AS traced
                    ON traced.stream_id = chosen.stream_id COLLATE "default" AND traced.name = shown_column.key
                  LEFT JOIN events AS event ON event.position = traced.position,
                       LATERAL (SELECT shown_column.key AS "column", old.value AS before, new.value AS after,
                                       CASE WHEN event.position IS NOT NULL THEN \(Self.event) END AS event
                               ) AS column_change
                 WHERE coalesce(new.value::jsonb, 'null') <> coalesce(old.value::jsonb, 'null')
              ) AS change ON change.columns IS NOT NULL
             ORDER BY chosen.ordinal
            """
    }

    private static let event = """
        (SELECT row_to_json(named)
           FROM (SELECT event.position, event.version, event.type, event.metadata ->> 'actor' AS actor,
                        \(utc("event.recorded_at")) AS recorded_at, \(utc("event.occurred_at")) AS occurred_at
                ) AS named)
        """

    private static func utc(_ time: String) -> String {
        "to_char(\(time) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    }
}
