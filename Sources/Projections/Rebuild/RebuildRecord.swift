import EventStore
package import Foundation
package import LedgerCore
package import Postgres

/// A rebuild's row, and the schema of its tables: made together, moved on together, gone together.
struct RebuildRecord: Sendable {
    let id: Int64
    let projection: String
    let definition: String
    /// The streams are divided among so many.
    let slices: Int
    /// The slices are folded up to here; from then on the tables have one position.
    let goal: Position
    /// `nil` while slices are folded.
    var position: Position?
    /// The names of those that are still to be made.
    var indexes: [String]

    /// A ledger has no hyphen in its name, so this is none's. It has at most 50 bytes, of the 63
    /// that a name may have.
    func schema(_ ledger: LedgerName) -> String { "\(ledger)-\(id)" }

    private init(_ row: PostgresRow) throws {
        id = try row.decode("id")
        projection = try row.decode("projection")
        definition = try row.decode("definition")
        slices = try row.decode("slices")
        goal = try row.decode("goal")
        position = try row.decode("position")
        indexes = try row.decode("indexes")
    }

    /// The rebuild of `projection` that is under way, with the definition that is wanted now.
    static func load(_ definition: ProjectionDefinition, on connection: PostgresConnection) async throws
        -> RebuildRecord?
    {
        try await connection.query(
            """
            SELECT id, projection, definition, slices, goal, position, indexes FROM rebuilds
             WHERE projection = $1 AND definition = $2 AND server_version = current_setting('server_version_num')::integer / 10000
            """, definition.name, definition.hash
        ).first.map { try RebuildRecord($0) }
    }

    /// Refuses to go on with the rebuild of somebody with more rights, or with fewer: who owns its
    /// tables can have whoever writes to them run code, with all the rights that these have.
    func requireOwn(_ ledger: LedgerName, on connection: PostgresConnection) async throws {
        let owner = try await connection.query(
            """
            SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace
             WHERE nspname = $1
               AND (NOT pg_has_role(nspowner, 'MEMBER') OR pg_has_role($2, 'MEMBER') AND NOT pg_has_role(nspowner, $2, 'MEMBER'))
            """, schema(ledger), "\(ledger)_owner"
        ).first?.decode(0, as: String.self)
        if let owner { throw RebuildOfAnother(projection: projection, owner: owner) }
    }

    /// Begins a rebuild: its row and its empty tables. What there was of another is dropped.
    static func begin(
        _ definition: ProjectionDefinition, ledger: LedgerName, slices: Int, goal: Position, by: String,
        on connection: PostgresConnection
    ) async throws -> RebuildRecord {
        try await connection.transaction { connection in
            try await cancel(definition.name, ledger: ledger, on: connection)
            let row = try await connection.query(
                """
                INSERT INTO rebuilds (projection, definition, slices, goal, indexes, started_by) VALUES ($1, $2, $3, $4, '{}', $5)
                RETURNING id, projection, definition, slices, goal, position, indexes
                """, definition.name, definition.hash, slices, goal, by)
            var record = try RebuildRecord(row.only())
            try await connection.query(
                "INSERT INTO rebuild_slices (rebuild, slice, goal) SELECT $1, slice, $2 FROM generate_series(0, $3::integer - 1) AS slice",
                record.id, goal, slices)
            let fresh = Fold(definition, ledger: ledger, schema: record.schema(ledger))
            try await Fold.createSchema(fresh.schema, of: ledger, on: connection)
            try await fresh.createTables(on: connection)
            try await fresh.handOver(on: connection)
            record.indexes = try await fresh.dropSecondaryIndexes(on: connection)
            try await connection.query("UPDATE rebuilds SET indexes = $2 WHERE id = $1", record.id, record.indexes)
            return record
        }
    }

    /// Drops what there is of a rebuild of `projection`. False where there is none.
    @discardableResult
    static func cancel(_ projection: String, ledger: LedgerName, on connection: PostgresConnection) async throws -> Bool
    {
        let rows = try await connection.query("DELETE FROM rebuilds WHERE projection = $1 RETURNING id", projection)
        for row in rows {
            try await connection.execute(
                script: "DROP SCHEMA IF EXISTS \"\(ledger)-\(row.decode(0, as: Int64.self))\" CASCADE")
        }
        return !rows.isEmpty
    }

    // MARK: Moving on, each by compare-and-swap

    /// Where a slice is.
    func position(ofSlice slice: Int, on connection: PostgresConnection) async throws -> Position {
        try await connection.query(
            "SELECT position FROM rebuild_slices WHERE rebuild = $1 AND slice = $2", id, slice
        ).only().decode(0)
    }

    /// Moves a slice.
    static func advance(
        _ id: Int64, slice: Int, from: Position, to: Position, on connection: PostgresConnection
    ) async throws -> Bool {
        try await connection.query(
            "UPDATE rebuild_slices SET position = $4 WHERE rebuild = $1 AND slice = $2 AND position = $3", id, slice,
            from, to
        ).affected == 1
    }

    /// Moves the joined tables.
    static func advance(_ id: Int64, from: Position, to: Position, on connection: PostgresConnection) async throws
        -> Bool
    {
        try await connection.query(
            "UPDATE rebuilds SET position = $3 WHERE id = $1 AND position = $2", id, from, to
        ).affected == 1
    }

    /// From now on the tables have one position. False where a slice has not come to the goal, or
    /// somebody else has said so.
    func join(on connection: PostgresConnection) async throws -> Bool {
        try await connection.query(
            """
            UPDATE rebuilds SET position = goal
             WHERE id = $1 AND position IS NULL
               AND NOT EXISTS (SELECT FROM rebuild_slices AS slice WHERE slice.rebuild = rebuilds.id AND slice.position < slice.goal)
            """, id
        ).affected == 1
    }

    /// Records the event that the rebuild cannot fold: `status` shows it, and it can be skipped.
    func fail(at position: Position, event: UUID?, error: String, on connection: PostgresConnection) async throws {
        try await connection.query(
            "UPDATE rebuilds SET failed_position = $2, failed_event = $3, error = $4 WHERE id = $1", id, position,
            event, error)
    }

    /// Drops schemas of rebuilds that no row refers to, and rows whose schema is gone, as after a
    /// restore of the ledger alone. A row and its schema are made and dropped in one transaction,
    /// so only a mistaken hand parts them.
    static func clearLeftovers(_ ledger: LedgerName, on connection: PostgresConnection) async throws {
        try await connection.execute(
            script: """
                DELETE FROM rebuilds WHERE to_regnamespace(format('%I', '\(ledger)-' || id)) IS NULL;
                DELETE FROM replaced_tables WHERE to_regnamespace(format('%I', '\(ledger)~' || id)) IS NULL
                """)
        let leftovers = try await connection.query(
            """
            SELECT nspname::text FROM pg_namespace
             WHERE nspname ~ ('^' || $1 || '[-~][0-9]+$')
               AND NOT EXISTS (SELECT FROM rebuilds WHERE nspname = $1 || '-' || id)
               AND NOT EXISTS (SELECT FROM replaced_tables WHERE nspname = $1 || '~' || id)
               AND pg_has_role(nspowner, 'USAGE')
            """, ledger.text)
        for row in leftovers {
            try await connection.execute(script: "DROP SCHEMA IF EXISTS \"\(row.decode(0, as: String.self))\" CASCADE")
        }
    }
}

/// The tables of a rebuild belong to another user.
package struct RebuildOfAnother: Error, CustomStringConvertible {
    package let projection: String
    package let owner: String
    package var description: String {
        """
        \(projection): a rebuild was begun as \(owner), who alone goes on with it: run rebuild as \(owner), or give that one up first: \
        jobledger rebuild \(projection) --cancel
        """
    }
}

/// A rebuild under way, for those who look on.
package struct RebuildState: Sendable {
    package let projection: String
    package let definition: String
    /// The mean of its slices' positions, or that of its tables once they have one.
    package let position: Position
    package let goal: Position
    package let startedAt: String
    package let startedBy: String
    /// Whether a process works on it now.
    package let isActive: Bool
    package let failed: (position: Position, event: UUID?, error: String)?

    package static func all(ledger: LedgerName, on connection: PostgresConnection) async throws -> [RebuildState] {
        try await connection.query(
            """
            SELECT projection, definition, goal, started_by, failed_position, failed_event, error,
                   to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS started_at,
                   coalesce(rebuilds.position, (SELECT avg(slice.position)::bigint FROM rebuild_slices AS slice WHERE rebuild = id)) AS position,
                   EXISTS (SELECT FROM pg_locks
                            WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' AND objsubid = 1
                              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                              AND classid::bigint << 32 | objid::bigint = hashtextextended($1 || projection, 0)) AS is_active
              FROM rebuilds
             ORDER BY projection
            """, ReplayLock.rebuildPrefix(ledger)
        ).map { row in
            let failed: Position? = try row.decode("failed_position")
            return RebuildState(
                projection: try row.decode("projection"), definition: try row.decode("definition"),
                position: try row.decode("position"), goal: try row.decode("goal"),
                startedAt: try row.decode("started_at"),
                startedBy: try row.decode("started_by"), isActive: try row.decode("is_active"),
                failed: try failed.map { ($0, try row.decode("failed_event"), try row.decode("error")) })
        }
    }
}
