import EventStore
package import LedgerCore
package import Postgres

/// Says for each column of a job's row which event gave it the value it has.
///
/// The job's history is folded event by event, by the projection's own SQL, in a function of the
/// session's own that stays in the server: there is no round trip an event, and each statement is
/// planned once for two thousand of them.
package struct Blame: Sendable {
    package struct Column: Sendable {
        package let name: String
        /// JSON.
        package let value: String
        /// The last event after which the column had another value than before; `nil` where none
        /// ever gave it one.
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

    /// How many events are folded in one transaction: what they leave behind in the temporary
    /// tables is cleared only between them.
    private static let batch = 2000

    private let definition: ProjectionDefinition
    private let ledger: LedgerName

    /// - Parameter definition: of `batch_jobs`.
    package init(_ definition: ProjectionDefinition, ledger: LedgerName) {
        self.definition = definition
        self.ledger = ledger
    }

    /// - Parameters:
    ///   - position: as the job was when the log ended there.
    ///   - connection: one that is closed afterwards: what this makes in it lasts as long as the
    ///     session.
    ///   - progress: told how many events are folded.
    /// - Returns: the columns in the table's order; `nil` where there is no such job.
    package func run(
        _ job: JobID, at position: Position, on connection: PostgresConnection,
        progress: (Int64) async throws -> Void = { _ in }
    ) async throws -> [Column]? {
        try await prepare(on: connection)
        var version: Int32 = 0
        var folded: Int64 = 0
        while let (last, count) = try await fold(job, after: version, upTo: position, on: connection) {
            version = last
            folded += count
            try await progress(folded)
        }
        guard version > 0 else { return nil }
        return try await connection.query(
            """
            SELECT blame.name, coalesce(blame.value, 'null')::text AS value, event.position, event.version, event.type::text AS type,
                   event.metadata ->> 'actor' AS actor, event.occurred_at, event.recorded_at
              FROM blame
              LEFT JOIN events AS event ON event.position = blame.position
             ORDER BY blame.ordinal
            """
        ).map { row in
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

    /// Makes the tables, and the function that folds one event and notes what it changed.
    private func prepare(on connection: PostgresConnection) async throws {
        let fold = Fold(definition, ledger: ledger, schema: "pg_temp")
        // A fence that the text does not have.
        var fence = "$fold$"
        while definition.applySQL.contains(fence) { fence = "$x" + fence.dropFirst() }
        try await connection.transaction { connection in
            try await connection.execute(
                script: settings + AsOfEvents.view("position = current_setting('jobledger.window_upto')::bigint"))
            try await fold.createTables(on: connection)
            try await connection.execute(
                script: """
                    CREATE TEMPORARY TABLE blame (ordinal bigint NOT NULL, name text PRIMARY KEY, value jsonb, position bigint) WITH (fillfactor = 50);
                    INSERT INTO blame (ordinal, name)
                    SELECT key.ordinal, key.name
                      FROM (SELECT \(JobReadModel.columns) FROM (SELECT (null::pg_temp.batch_jobs).*) AS batch_jobs) AS job,
                           json_object_keys(row_to_json(job)) WITH ORDINALITY AS key (name, ordinal);
                    SET LOCAL search_path = pg_temp, "\(ledger.text)";
                    CREATE FUNCTION pg_temp.fold_event(text, bigint) RETURNS bigint LANGUAGE sql AS \(fence)
                    SELECT set_config('jobledger.window_upto', $2::text, true);
                    \(definition.applySQL)
                    ;
                    UPDATE pg_temp.blame SET value = changed.value, position = $2
                      FROM (SELECT key, nullif(value, 'null') AS value
                              FROM (SELECT \(JobReadModel.columns) FROM batch_jobs WHERE id = $1) AS job, jsonb_each(to_jsonb(job))) AS changed
                     WHERE blame.name = changed.key AND blame.value IS DISTINCT FROM changed.value;
                    SELECT $2;
                    \(fence);
                    """)
        }
    }

    /// Folds the next events; `nil` when there are no more.
    private func fold(
        _ job: JobID, after version: Int32, upTo position: Position, on connection: PostgresConnection
    ) async throws -> (version: Int32, count: Int64)? {
        try await connection.transaction { connection in
            try await connection.execute(script: settings + "SET LOCAL search_path = pg_temp, \"\(ledger.text)\"")
            let row = try await connection.query(
                """
                SELECT max(version)::integer AS version, count(pg_temp.fold_event($1, position)) AS count
                  FROM (SELECT version, position FROM events
                         WHERE category = 'job' AND stream_id = $1 AND version > $2 AND position <= $3
                         ORDER BY version LIMIT \(Self.batch)) AS event
                """, job, version, position
            ).only()
            return try row.decode("version", as: Int32?.self).map { ($0, try row.decode("count")) }
        }
    }

    /// Each event is a window of its own.
    private var settings: String {
        """
        SET LOCAL jobledger.window_upto = '0';
        SET LOCAL jobledger.window_types = '\(definition.consumes.map(\.rawValue).sorted().joined(separator: ","))';

        """
    }
}
