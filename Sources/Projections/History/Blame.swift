import EventStore
package import LedgerCore
package import Postgres

/// Finds for each column of a stream's row the event that gave it its value.
///
/// The projection's own SQL folds the stream's history event by event, in a temporary function. So
/// there is no round trip per event, and each statement is planned once for 2,000 events.
package struct Blame: Sendable {
    package struct Column: Sendable {
        package let name: String
        /// As JSON.
        package let value: String
        /// The last event that changed the column's value; `nil` if none ever gave it one.
        package let event: Event?
    }

    package struct Event: Sendable {
        package let position: Position
        package let version: Int32
        package let type: String
        package let actor: ExactText?
        package let occurredAt: Timestamp?
        package let recordedAt: Timestamp
    }

    /// How many events are folded in one transaction. Dead rows of the temporary tables are cleaned
    /// up only between transactions.
    private static let batch = 2000

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
    ///   - position: explains the row as it was when the log ended there.
    ///   - connection: a connection to be closed afterwards, since the temporary tables and the
    ///     function last as long as its session.
    ///   - progress: called after each transaction with the number of events folded so far.
    /// - Returns: the columns in the table's order; `nil` if there is no such stream.
    /// - Throws: ``NoRows``, or ``DependsOnTheLog`` if rows depend on more than their stream.
    package func run(
        _ id: JobID, at position: Position, on connection: PostgresConnection,
        progress: (Int64) async throws -> Void = { _ in }
    ) async throws -> [Column]? {
        try await prepare(on: connection)
        var version: Int32 = 0
        var folded: Int64 = 0
        while let (last, count) = try await fold(id, after: version, upTo: position, on: connection) {
            version = last
            folded += count
            try await progress(folded)
        }
        guard version > 0 else { return nil }
        return try await connection.query(Self.columns).map { row in
            let event: Event? =
                if let position = try row.decode("position", as: Position?.self) {
                    Event(
                        position: position, version: try row.decode("version"), type: try row.decode("type"),
                        actor: try row.decode("actor"),
                        occurredAt: try row.decode("occurred_at", as: PostgresTimestamp?.self).map(Timestamp.init),
                        recordedAt: Timestamp(try row.decode("recorded_at", as: PostgresTimestamp.self)))
                } else {
                    nil
                }
            return Column(name: try row.decode("name"), value: try row.decode("value"), event: event)
        }
    }

    private static let columns = """
        SELECT blame.name, coalesce(blame.value, 'null')::text AS value, event.position, event.version,
               event.type::text AS type, event.metadata ->> 'actor' AS actor, event.occurred_at, event.recorded_at
          FROM blame
          LEFT JOIN events AS event ON event.position = blame.position
         ORDER BY blame.ordinal
        """

    /// Makes the tables, and the function that folds one event and notes what it changed.
    private func prepare(on connection: PostgresConnection) async throws {
        try definition.requireStreamKey()
        let shown = try definition.rows(of: category)
        let fold = Fold(definition, ledger: ledger, schema: "pg_temp")
        try await connection.transaction { connection in
            try await connection.execute(
                script: AsOfEvents.view("position = current_setting('jobledger.window_upto')::bigint"))
            try await fold.createTables(on: connection)
            let rows = try await StreamRows.of(shown, of: category, in: fold.schema, on: connection)
            try await connection.execute(script: blameTable(rows) + foldFunction(rows))
        }
    }

    /// One row for each column of the stream's row: its value, and the event that gave it.
    private func blameTable(_ rows: StreamRows) -> String {
        """
        CREATE TEMPORARY TABLE blame (ordinal bigint NOT NULL, name text PRIMARY KEY, value jsonb, position bigint)
          WITH (fillfactor = 50);
        INSERT INTO blame (ordinal, name)
        SELECT key.ordinal, key.name
          FROM (SELECT \(rows.columns) FROM (SELECT (null::\(rows.table)).*) AS shown) AS stream,
               json_object_keys(row_to_json(stream)) WITH ORDINALITY AS key (name, ordinal);

        """
    }

    /// Folds the event at a position into the row of a stream.
    private func foldFunction(_ rows: StreamRows) -> String {
        // A quoting tag that the text does not contain.
        var tag = "$fold$"
        while definition.applySQL.contains(tag) { tag = "$x" + tag.dropFirst() }
        return """
            SET LOCAL search_path = pg_temp, "\(ledger.text)";
            CREATE FUNCTION pg_temp.fold_event(text, bigint) RETURNS bigint LANGUAGE sql AS \(tag)
            SELECT set_config('jobledger.window_upto', $2::text, true);
            \(definition.applySQL)
            ;
            UPDATE pg_temp.blame SET value = changed.value, position = $2
              FROM (SELECT key, nullif(value, 'null') AS value
                      FROM (SELECT \(rows.columns) FROM \(rows.table) AS shown WHERE \(rows.condition("$1"))) AS stream,
                           jsonb_each(to_jsonb(stream))) AS changed
             WHERE blame.name = changed.key AND blame.value IS DISTINCT FROM changed.value;
            SELECT $2;
            \(tag);
            """
    }

    /// Folds the next events; `nil` if there are no more.
    private func fold(
        _ id: JobID, after version: Int32, upTo position: Position, on connection: PostgresConnection
    ) async throws -> (version: Int32, count: Int64)? {
        try await connection.transaction { connection in
            // Each event is a window of its own, so the function sets the bounds.
            try await connection.execute(
                script: Fold.window(of: definition, after: 0, upTo: 0)
                    + "SET LOCAL search_path = pg_temp, \"\(ledger.text)\"")
            let row = try await connection.query(
                Self.foldNext, id, version, position, Self.batch, category.text
            ).only()
            return try row.decode("version", as: Int32?.self).map { ($0, try row.decode("count")) }
        }
    }

    /// Folds the next $4 events of the stream $1 of the category $5.
    private static let foldNext = """
        SELECT max(version)::integer AS version, count(pg_temp.fold_event($1, position)) AS count
          FROM (SELECT version, position FROM events
                 WHERE category = $5 AND stream_id = $1 AND version > $2 AND position <= $3
                 ORDER BY version LIMIT $4) AS event
        """
}
