import LedgerCore
import Postgres

/// Folds events of some streams one by one, and notes for each column of a stream's row which event
/// changed it last.
///
/// The projection's own SQL is the body of a temporary function, which the database runs for each
/// event. The tables, in `pg_temp`, have what was folded before.
struct TracedFold: Sendable {
    private let definition: ProjectionDefinition
    private let rows: StreamRows
    private let ledger: LedgerName

    /// - Parameter rows: those of the projection's table in `pg_temp`.
    init(_ definition: ProjectionDefinition, _ rows: StreamRows, ledger: LedgerName) {
        self.definition = definition
        self.rows = rows
        self.ledger = ledger
    }

    /// Has a space in its name, unlike every table of a projection.
    static let table = "pg_temp.\"columns traced\""

    /// Makes a `new_events` with one event, whose position the function sets.
    static let oneEvent = AsOfEvents.view("position = current_setting('jobledger.window_upto')::bigint")

    /// What a transaction needs before it calls the function. Each event is a window of its own, so
    /// the function sets the bounds.
    static func settings(of definition: ProjectionDefinition, ledger: LedgerName) -> String {
        Fold.window(of: definition, after: 0, upTo: 0)
            + "SET LOCAL search_path = pg_temp, \"\(ledger.text)\""
    }

    /// The condition that an operator had the projection skip an event.
    static func isSkipped(_ position: String, _ projection: String, _ definition: String) -> String {
        """
        EXISTS (SELECT FROM skipped_events AS skipped
                 WHERE skipped.projection = \(projection) AND skipped.definition = \(definition)
                   AND skipped.position = \(position))
        """
    }

    /// The table of columns, empty, and the function. One row of the table is a column of a
    /// stream's row: its value, and the event that gave it.
    var tables: String {
        """
        CREATE TEMPORARY TABLE \(Self.table) (
          stream_id text   NOT NULL,
          name      text   NOT NULL,
          ordinal   bigint NOT NULL,
          value     jsonb,
          position  bigint,
          PRIMARY KEY (stream_id, name)
        ) WITH (fillfactor = 50);
        \(function)
        """
    }

    private static let columnNames = "json_object_keys(row_to_json(stream)) WITH ORDINALITY AS key (name, ordinal)"

    /// Adds the columns of the stream $1, of which nothing is folded yet.
    var addStream: String {
        """
        INSERT INTO \(Self.table) (stream_id, name, ordinal)
        SELECT $1::text, key.name, key.ordinal
          FROM (SELECT \(rows.columns) FROM (SELECT (null::\(rows.table)).*) AS shown) AS stream, \(Self.columnNames)
        """
    }

    /// Adds the columns of streams with the values that they have now.
    /// - Parameter streams: a table with the column `stream_id`.
    func addStreams(_ streams: String) -> String {
        """
        INSERT INTO \(Self.table) (stream_id, name, ordinal, value)
        SELECT added.stream_id, key.name, key.ordinal, nullif(present.row -> key.name, 'null')
          FROM (SELECT stream_id COLLATE "default" AS stream_id FROM \(streams)) AS added
          LEFT JOIN LATERAL (
            SELECT to_jsonb(stream) AS row
              FROM (SELECT \(rows.columns) FROM \(rows.table) AS shown
                     WHERE \(rows.condition("added.stream_id"))) AS stream
          ) AS present ON true,
               (SELECT \(rows.columns) FROM (SELECT (null::\(rows.table)).*) AS shown) AS stream,
               \(Self.columnNames)
        """
    }

    /// Folds the event at a position into the row of a stream. Where the row is gone, its columns
    /// have no values.
    private var function: String {
        // A quoting tag that the text does not contain.
        var tag = "$fold$"
        while definition.applySQL.contains(tag) { tag = "$x" + tag.dropFirst() }
        let row = "SELECT \(rows.columns) FROM \(rows.table) AS shown WHERE \(rows.condition("$1"))"
        return """
            SET LOCAL search_path = pg_temp, "\(ledger.text)";
            CREATE FUNCTION pg_temp.fold_event(text, bigint) RETURNS bigint LANGUAGE sql AS \(tag)
            SELECT set_config('jobledger.window_upto', $2::text, true);
            \(definition.applySQL)
            ;
            UPDATE \(Self.table) AS traced SET value = changed.value, position = $2
              FROM (SELECT key, nullif(value, 'null') AS value
                      FROM (\(row)) AS stream, jsonb_each(to_jsonb(stream))) AS changed
             WHERE traced.stream_id = $1 AND traced.name = changed.key
               AND traced.value IS DISTINCT FROM changed.value;
            UPDATE \(Self.table) SET value = NULL, position = $2
             WHERE stream_id = $1 AND value IS NOT NULL AND NOT EXISTS (\(row));
            SELECT $2;
            \(tag);
            """
    }
}
