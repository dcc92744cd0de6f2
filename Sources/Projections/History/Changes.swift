import EventStore
package import LedgerCore
package import Postgres

/// What changed in a read model between two positions: the streams whose rows changed, and the
/// events that changed them.
///
/// Only streams with events in between can differ, so only their histories are folded. The
/// projection's own SQL folds them in temporary tables, a batch of streams at a time, up to the
/// first position and then on to the second. The cost depends on the events in between and on those
/// histories, not on the length of the log. Memory holds one row.
package struct Changes: Sendable {
    package struct Change: Sendable {
        package let stream: JobID
        /// Whether there was no such row at the first position.
        package let isNew: Bool
        /// A JSON object with `{"from": …, "to": …}` for each changed column, in the table's order.
        package let columns: String
        /// A JSON array of the events in between, oldest first. If there are more than
        /// ``Changes/mostEvents``, it has the latest of them.
        package let events: String
        package let eventCount: Int64
    }

    /// The most events that are listed for one stream.
    package static let mostEvents = 1000
    /// How many streams are folded together.
    private static let batch = 1000

    private let definition: ProjectionDefinition
    private let category: Category
    private let ledger: LedgerName

    /// - Parameter definition: a projection that shows the streams of the category.
    package init(_ definition: ProjectionDefinition, of category: Category = .job, ledger: LedgerName) {
        self.definition = definition
        self.category = category
        self.ledger = ledger
    }

    /// - Parameters:
    ///   - stream: the only stream to compare; `nil` compares all.
    ///   - progress: called with the number of compared streams, and of all streams to compare.
    ///   - body: called with each change, in the order of the streams' first events in between.
    /// - Returns: how many streams changed.
    /// - Throws: ``NoRows``, or ``DependsOnTheLog`` if rows depend on more than their stream.
    @discardableResult
    package func run(
        from: Position, to: Position, stream: JobID? = nil, on connection: PostgresConnection,
        progress: (Int64, Int64) async throws -> Void = { _, _ in }, _ body: (Change) async throws -> Void
    ) async throws -> Int64 {
        precondition(from <= to)
        try definition.requireStreamKey()
        let shown = try definition.rows(of: category)
        let fold = Fold(definition, ledger: ledger, schema: "pg_temp")
        return try await connection.discardedTransaction { connection in
            let total = try await choose(from, to, stream, on: connection)
            try await connection.execute(script: Self.batchOfStreams + events)
            try await fold.createTables(on: connection)
            let after = try await StreamRows.of(shown, of: category, in: fold.schema, on: connection)
            try await connection.execute(
                script: "CREATE TEMPORARY TABLE \(Self.rowsBefore) (LIKE \(after.table) INCLUDING INDEXES)")
            let comparison = comparison(after)

            var changed: Int64 = 0
            for first in stride(from: Int64(0), to: total, by: Self.batch) {
                try await connection.execute(script: nextBatch(after: first))
                try await fold.apply(after: 0, upTo: from, on: connection)
                try await connection.execute(
                    script: "INSERT INTO \(Self.rowsBefore) SELECT * FROM \(after.table); ANALYZE \(Self.rowsBefore)")
                try await fold.apply(after: from, upTo: to, on: connection)
                for try await row in connection.stream(comparison, from, to) {
                    changed += 1
                    try await body(
                        Change(
                            stream: try row.decode(0), isNew: try row.decode(1), columns: try row.decode(2),
                            events: try row.decode(3), eventCount: try row.decode(4)))
                }
                try await progress(min(total, first + Int64(Self.batch)), total)
            }
            return changed
        }
    }

    /// The rows at the first position.
    private static let rowsBefore = "pg_temp.\"rows before\""

    /// The streams that are folded together.
    private static let batchOfStreams = """
        CREATE TEMPORARY TABLE chosen (
          stream_id text   COLLATE "C" PRIMARY KEY,
          ordinal   bigint NOT NULL,
          events    bigint NOT NULL
        );

        """

    private var events: String {
        AsOfEvents.view(
            """
            position > current_setting('jobledger.window_after')::bigint
            AND category = '\(category)' AND \(AsOfEvents.stream) IN (SELECT chosen.stream_id FROM pg_temp.chosen)
            """)
    }

    /// Chooses the streams behind the first `first`, and empties the tables for them.
    private func nextBatch(after first: Int64) -> String {
        let tables = definition.tables.map { "pg_temp.\"\($0)\"" }.joined(separator: ", ")
        return """
            TRUNCATE pg_temp.chosen, \(Self.rowsBefore), \(tables);
            INSERT INTO chosen
            SELECT stream_id, ordinal, events FROM touched
             WHERE ordinal > \(first) AND ordinal <= \(first + Int64(Self.batch));
            ANALYZE chosen;
            """
    }

    /// Lists the streams with events in between in a temporary table.
    /// - Returns: how many there are.
    private func choose(
        _ from: Position, _ to: Position, _ stream: JobID?, on connection: PostgresConnection
    ) async throws -> Int64 {
        try await connection.execute(script: Fold.consumed(by: definition) + Self.touchedStreams)
        let parameters: [any PostgresEncodable] = [from, to, category.text] + (stream.map { [$0] } ?? [])
        let rows = try await connection.query(
            PostgresStatement(Self.listTouched(isOneStream: stream != nil), parameters))
        return Int64(rows.affected)
    }

    private static let touchedStreams = """
        CREATE TEMPORARY TABLE touched (
          ordinal   bigint PRIMARY KEY,
          stream_id text   NOT NULL,
          events    bigint NOT NULL
        )
        """

    /// Lists the streams of the category $3 with events after $1 up to $2; only the stream $4 if
    /// there is one. IS TRUE keeps Postgres from the index of streams, which has the category too:
    /// the range is read along the log.
    private static func listTouched(isOneStream: Bool) -> String {
        """
        INSERT INTO touched
        SELECT row_number() OVER (ORDER BY min(position)), stream_id, count(*)
          FROM consumed_events
         WHERE (category = $3) IS TRUE AND position > $1 AND position <= $2
               \(isOneStream ? "AND \(AsOfEvents.stream) = $4" : "")
         GROUP BY stream_id
        """
    }

    /// The rows that differ, with both sides compared as JSON, so that numbers keep their digits.
    private func comparison(_ rows: StreamRows) -> String {
        """
        SELECT chosen.stream_id, before.row IS NULL, change.columns::text, event.list::text, chosen.events
          FROM chosen
          LEFT JOIN LATERAL (
            SELECT row_to_json(stream) AS row
              FROM (SELECT \(rows.columns) FROM \(Self.rowsBefore) AS shown
                     WHERE \(rows.condition("chosen.stream_id"))) AS stream
          ) AS before ON true
          JOIN LATERAL (
            SELECT row_to_json(stream) AS row
              FROM (SELECT \(rows.columns) FROM \(rows.table) AS shown
                     WHERE \(rows.condition("chosen.stream_id"))) AS stream
          ) AS after ON true
          JOIN LATERAL (
            SELECT json_object_agg(new.key, json_build_object('from', old.value, 'to', new.value)
                                   ORDER BY new.ordinal) AS columns
              FROM json_each(after.row) WITH ORDINALITY AS new (key, value, ordinal)
              LEFT JOIN json_each(before.row) AS old (key, value) ON old.key = new.key
             WHERE coalesce(new.value::jsonb, 'null') <> coalesce(old.value::jsonb, 'null')
          ) AS change ON change.columns IS NOT NULL
          JOIN LATERAL (
            SELECT json_agg(json_build_object('position', position, 'version', version, 'type', type,
                                              'actor', metadata ->> 'actor', 'recorded_at', recorded_at)
                            ORDER BY version) AS list
              FROM (SELECT position, version, type, metadata, recorded_at FROM consumed_events
                     WHERE category = '\(category)' AND \(AsOfEvents.stream) = chosen.stream_id
                       AND position > $1 AND position <= $2
                     ORDER BY version DESC LIMIT \(Self.mostEvents)) AS latest
          ) AS event ON true
         ORDER BY chosen.ordinal
        """
    }
}
