import EventStore
package import LedgerCore
package import Postgres

/// Finds for each column of a stream's row the event that gave it its value.
///
/// The projection's own SQL folds the stream's history event by event: see ``TracedFold``. So there
/// is no round trip per event, and each statement is planned once for 2,000 events.
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
        try await connection.transaction { try await prepare(id, on: $0) }
        var version: Int32 = 0
        var folded: Int64 = 0
        func next(_ connection: PostgresConnection) async throws -> (version: Int32, count: Int64)? {
            try await connection.transaction { try await fold(id, after: version, upTo: position, on: $0) }
        }
        while let (last, count) = try await next(connection) {
            version = last
            folded += count
            try await progress(folded)
        }
        return version > 0 ? try await columns(on: connection) : nil
    }

    /// The same with a connection of a pool. A history that fits into one transaction is folded in
    /// one that is rolled back, so that the connection can be used again; for a longer one it is
    /// closed.
    package func run(_ id: JobID, at position: Position, in pool: PostgresPool) async throws -> [Column]? {
        try await pool.withConnection { connection in
            let isShort = try await connection.query(Self.isLong, id, Int32(Self.batch), category.text).isEmpty
            if isShort {
                return try await connection.discardedTransaction { connection in
                    try await prepare(id, on: connection)
                    guard try await fold(id, after: 0, upTo: position, on: connection) != nil else { return nil }
                    return try await columns(on: connection)
                }
            }
            do {
                let columns = try await run(id, at: position, on: connection)
                await connection.close()
                return columns
            } catch {
                await connection.close()
                throw error
            }
        }
    }

    /// Returns a row if the stream $1 of the category $3 has more than $2 events.
    private static let isLong =
        "SELECT FROM events WHERE category = $3 AND stream_id = $1 AND version > $2 LIMIT 1"

    private func columns(on connection: PostgresConnection) async throws -> [Column] {
        try await connection.query(Self.columns).map { row in
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
        SELECT traced.name, coalesce(traced.value, 'null')::text AS value, event.position, event.version,
               event.type::text AS type, event.metadata ->> 'actor' AS actor, event.occurred_at, event.recorded_at
          FROM \(TracedFold.table) AS traced
          LEFT JOIN events AS event ON event.position = traced.position
         ORDER BY traced.ordinal
        """

    /// Makes the tables, and the function that folds one event and notes what it changed.
    private func prepare(_ id: JobID, on connection: PostgresConnection) async throws {
        try definition.requireStreamKey()
        let shown = try definition.rows(of: category)
        let fold = Fold(definition, ledger: ledger, schema: "pg_temp")
        try await connection.execute(script: TracedFold.oneEvent)
        try await fold.createTables(on: connection)
        let rows = try await StreamRows.of(shown, of: category, in: fold.schema, on: connection)
        let traced = TracedFold(definition, rows, ledger: ledger)
        try await connection.execute(script: traced.tables)
        try await connection.query(traced.addStream, id)
    }

    /// Folds the next events; `nil` if there are no more.
    private func fold(
        _ id: JobID, after version: Int32, upTo position: Position, on connection: PostgresConnection
    ) async throws -> (version: Int32, count: Int64)? {
        try await connection.execute(script: TracedFold.settings(of: definition, ledger: ledger))
        let row = try await connection.query(
            Self.foldNext, id, version, position, Self.batch, category.text, definition.name, definition.hash
        ).only()
        return try row.decode("version", as: Int32?.self).map { ($0, try row.decode("count")) }
    }

    /// Folds the next $4 events of the stream $1 of the category $5. An event that the projection
    /// skipped has changed nothing.
    private static let foldNext = """
        SELECT max(version)::integer AS version, count(pg_temp.fold_event($1, position)) AS count
          FROM (SELECT version, position FROM events
                 WHERE category = $5 AND stream_id = $1 AND version > $2 AND position <= $3
                   AND NOT \(TracedFold.isSkipped("events.position", "$6", "$7"))
                 ORDER BY version LIMIT $4) AS event
        """
}
