package import LedgerCore
package import Postgres

/// The tables that the last rebuild of a projection replaced. They are kept as they were.
package enum ReplacedTables {
    package struct None: Error, Sendable, CustomStringConvertible {
        package let projection: String
        package init(projection: String) { self.projection = projection }
        package var description: String {
            "\(projection) has no replaced tables: it was not rebuilt, or they were dropped"
        }
    }

    /// What `rebuild --undo` did.
    package struct Undone: Sendable {
        package let projection: String
        /// The position of the tables that are in use again.
        package let position: Position
        package let definition: String
    }

    /// Swaps the replaced tables back in, with their position and definition. The live projection
    /// continues from there. The tables that were in use are kept in their place, so that the undo
    /// can be undone too.
    package static func undo(
        _ projection: String, ledger: LedgerName, by: String = Author.current, on connection: PostgresConnection
    ) async throws -> Undone {
        try await ReplayLock.withLock(ReplayLock.rebuild(projection, ledger), of: projection, on: connection) {
            try await RebuildRecord.clearLeftovers(ledger, on: connection)
            return try await TableSwap.untilFree(projection, waiting: {}) { patience in
                try await ReplayLock.withLock(
                    ReplayLock.swap(projection, ledger), of: projection, timeout: .zero, on: connection
                ) {
                    try await connection.transaction { try await exchange(projection, ledger, by, patience, on: $0) }
                }
            }
        }
    }

    private static func exchange(
        _ projection: String, _ ledger: LedgerName, _ by: String, _ patience: TableSwap.Patience,
        on connection: PostgresConnection
    ) async throws -> Undone {
        try await LiveProjection.lockInstallation(on: connection)
        let now = try await ProjectionState.lock(projection, on: connection)
        let kept = try await connection.query(
            "SELECT id, definition, tables, position FROM replaced_tables WHERE projection = $1", projection)
        guard let row = kept.first, let now else { throw None(projection: projection) }
        let (id, definition, tables): (Int64, String, [String]) = (
            try row.decode("id"), try row.decode("definition"), try row.decode("tables")
        )
        let position: Position = try row.decode("position")
        let nowTables = now.tables.isEmpty ? tables : now.tables
        let (aside, coming) = ("\(ledger)~\(id)", "\(ledger)-\(id)")
        try await connection.execute(script: "ALTER SCHEMA \"\(aside)\" RENAME TO \"\(coming)\"")
        try await Fold.createSharedSchema(aside, of: ledger, on: connection)
        try await connection.query(keepNow, projection, now.definition, nowTables, now.position)
        try await connection.query(runReplaced, projection, definition, tables, position)
        try await connection.query(
            "SELECT record_receipt('undo', $1, $2, $3, null, null, null, null, null, null, null, null, $4)",
            projection, definition, position, by)
        let swap = TableSwap(
            ledger: ledger, tables: Array(Set(tables).union(nowTables)).sorted(), fresh: coming, aside: aside)
        try await swap.lock(for: patience, on: connection)
        try await swap.swap(on: connection)
        try await connection.execute(script: "DROP SCHEMA \"\(coming)\"")
        return Undone(projection: projection, position: position, definition: definition)
    }

    private static let keepNow = """
        UPDATE replaced_tables SET definition = $2, tables = $3, position = $4, replaced_at = clock_timestamp()
         WHERE projection = $1
        """

    private static let runReplaced = """
        UPDATE projections SET definition = $2, tables = $3, position = $4, state = 'running', failed_position = null,
               failed_event = null, error = null, updated_at = clock_timestamp()
         WHERE name = $1
        """

    /// Records the tables that a swap is about to replace.
    static func keep(_ state: ProjectionState, tables: [String], as id: Int64, on connection: PostgresConnection)
        async throws
    {
        try await connection.query(
            "INSERT INTO replaced_tables (projection, id, definition, tables, position) VALUES ($1, $2, $3, $4, $5)",
            state.name, id, state.definition, tables, state.position)
    }

    /// Drops the replaced tables. Returns false if there are none.
    @discardableResult
    static func drop(_ projection: String, ledger: LedgerName, on connection: PostgresConnection) async throws -> Bool {
        let rows = try await connection.query(
            "DELETE FROM replaced_tables WHERE projection = $1 RETURNING id", projection)
        for row in rows {
            try await connection.execute(
                script: "DROP SCHEMA IF EXISTS \"\(ledger)~\(row.decode(0, as: Int64.self))\" CASCADE")
        }
        return !rows.isEmpty
    }

    /// Drops the replaced tables for an operator, unless a rebuild is running. Returns false if
    /// there are none.
    package static func discard(_ projection: String, ledger: LedgerName, on connection: PostgresConnection)
        async throws -> Bool
    {
        try await ReplayLock.withLock(ReplayLock.rebuild(projection, ledger), of: projection, on: connection) {
            try await connection.transaction { try await drop(projection, ledger: ledger, on: $0) }
        }
    }
}

extension Rebuild {
    /// Cancels the unfinished rebuild of a projection. Returns false if there is none.
    package static func cancel(_ projection: String, ledger: LedgerName, on connection: PostgresConnection) async throws
        -> Bool
    {
        try await ReplayLock.withLock(ReplayLock.rebuild(projection, ledger), of: projection, on: connection) {
            try await connection.transaction { try await RebuildRecord.cancel(projection, ledger: ledger, on: $0) }
        }
    }
}
