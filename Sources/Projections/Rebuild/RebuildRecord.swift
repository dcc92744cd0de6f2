import EventStore
import Foundation
import LedgerCore
import Postgres

/// A rebuild's row and the schema of its tables. One transaction makes both, and one drops both.
struct RebuildRecord: Sendable {
    let id: Int64
    let projection: String
    let definition: String
    /// The number of slices into which the streams are divided.
    let slices: Int
    /// Slices are folded up to here. From then on the tables have one common position.
    let goal: Position
    /// The tables' common position; `nil` while slices are folded.
    var position: Position?
    /// The names of the indexes that are still to be made.
    var indexes: [String]

    /// The schema of the tables. It is no ledger's, because the name of a ledger has no hyphen. The
    /// name has at most 63 bytes, because that of a ledger has at most 50.
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

    /// The unfinished rebuild with this definition.
    static func load(_ definition: ProjectionDefinition, on connection: PostgresConnection) async throws
        -> RebuildRecord?
    {
        try await connection.query(unfinished, definition.name, definition.hash).first.map { try RebuildRecord($0) }
    }

    private static let columns = "id, projection, definition, slices, goal, position, indexes"

    /// A rebuild that was begun on another major version of Postgres is not resumed.
    private static let unfinished = """
        SELECT \(columns) FROM rebuilds
         WHERE projection = $1 AND definition = $2
           AND server_version = current_setting('server_version_num')::integer / 10000
        """

    /// Refuses to resume the rebuild of a user with more rights, or with fewer. The owner of its
    /// tables can make whoever writes to them run code, with all rights of the writer.
    func requireOwn(_ ledger: LedgerName, on connection: PostgresConnection) async throws {
        let owner = try await connection.query(Self.otherOwner, schema(ledger), "\(ledger)_owner")
            .first?.decode(0, as: String.self)
        if let owner { throw RebuildOfAnother(projection: projection, owner: owner) }
    }

    /// The owner of the schema $1, if the session is not a member of it, or has the rights of the
    /// ledger's owner $2 and the schema's owner has not.
    private static let otherOwner = """
        SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace
         WHERE nspname = $1
           AND (NOT pg_has_role(nspowner, 'MEMBER')
                OR pg_has_role($2, 'MEMBER') AND NOT pg_has_role(nspowner, $2, 'MEMBER'))
        """

    /// Begins a rebuild with its row and empty tables. An unfinished one of the projection is
    /// dropped.
    static func begin(
        _ definition: ProjectionDefinition, ledger: LedgerName, slices: Int, goal: Position, by: String,
        on connection: PostgresConnection
    ) async throws -> RebuildRecord {
        try await connection.transaction { connection in
            try await cancel(definition.name, ledger: ledger, on: connection)
            let row = try await connection.query(
                insertion, definition.name, definition.hash, slices, goal, by)
            var record = try RebuildRecord(row.only())
            try await connection.query(insertionOfSlices, record.id, goal, slices)
            let fresh = Fold(definition, ledger: ledger, schema: record.schema(ledger))
            try await Fold.createSchema(fresh.schema, of: ledger, on: connection)
            try await fresh.createTables(on: connection)
            try await fresh.handOver(on: connection)
            record.indexes = try await fresh.dropSecondaryIndexes(on: connection)
            try await connection.query("UPDATE rebuilds SET indexes = $2 WHERE id = $1", record.id, record.indexes)
            return record
        }
    }

    private static let insertion = """
        INSERT INTO rebuilds (projection, definition, slices, goal, indexes, started_by)
        VALUES ($1, $2, $3, $4, '{}', $5)
        RETURNING \(columns)
        """

    private static let insertionOfSlices = """
        INSERT INTO rebuild_slices (rebuild, slice, goal)
        SELECT $1, slice, $2 FROM generate_series(0, $3::integer - 1) AS slice
        """

    /// Drops the unfinished rebuild of `projection`. Returns false if there is none.
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

    // MARK: Positions, moved by compare-and-swap

    /// The position of a slice.
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

    /// Moves the tables, when they have one position.
    static func advance(_ id: Int64, from: Position, to: Position, on connection: PostgresConnection) async throws
        -> Bool
    {
        try await connection.query(
            "UPDATE rebuilds SET position = $3 WHERE id = $1 AND position = $2", id, from, to
        ).affected == 1
    }

    /// Joins the slices: from now on the tables have one position, the goal. Returns false if a
    /// slice has not reached the goal, or another process has joined them.
    func join(on connection: PostgresConnection) async throws -> Bool {
        try await connection.query(Self.joining, id).affected == 1
    }

    private static let joining = """
        UPDATE rebuilds SET position = goal
         WHERE id = $1 AND position IS NULL
           AND NOT EXISTS (SELECT FROM rebuild_slices AS slice
                            WHERE slice.rebuild = rebuilds.id AND slice.position < slice.goal)
        """

    // MARK: Failures and indexes

    /// Records the event that the rebuild cannot fold. `status` shows it, and operators can skip
    /// it.
    func fail(at position: Position, event: UUID?, error: String, on connection: PostgresConnection) async throws {
        try await connection.query(
            "UPDATE rebuilds SET failed_position = $2, failed_event = $3, error = $4 WHERE id = $1",
            id, position, event, error)
    }

    /// Removes a recorded failure.
    func forgetFailure(on connection: PostgresConnection) async throws {
        try await connection.query(
            "UPDATE rebuilds SET failed_position = null, failed_event = null, error = null WHERE id = $1", id)
    }

    /// Records that an index is made.
    func noteMade(_ index: String, on connection: PostgresConnection) async throws {
        try await connection.query(
            "UPDATE rebuilds SET indexes = array_remove(indexes, $2) WHERE id = $1", id, index)
    }

    // MARK: Leftovers

    /// Drops schemas without a row, and rows without a schema. One transaction makes or drops both,
    /// so only a manual change can leave one of them, such as a restore of the ledger's schema
    /// alone.
    static func clearLeftovers(_ ledger: LedgerName, on connection: PostgresConnection) async throws {
        try await connection.execute(
            script: """
                DELETE FROM rebuilds WHERE to_regnamespace(format('%I', '\(ledger)-' || id)) IS NULL;
                DELETE FROM replaced_tables WHERE to_regnamespace(format('%I', '\(ledger)~' || id)) IS NULL
                """)
        for row in try await connection.query(schemasWithoutRow, ledger.text) {
            try await connection.execute(script: "DROP SCHEMA IF EXISTS \"\(row.decode(0, as: String.self))\" CASCADE")
        }
    }

    private static let schemasWithoutRow = """
        SELECT nspname::text FROM pg_namespace
         WHERE nspname ~ ('^' || $1 || '[-~][0-9]+$')
           AND NOT EXISTS (SELECT FROM rebuilds WHERE nspname = $1 || '-' || id)
           AND NOT EXISTS (SELECT FROM replaced_tables WHERE nspname = $1 || '~' || id)
           AND pg_has_role(nspowner, 'USAGE')
        """
}

/// The tables of an unfinished rebuild belong to another user.
package struct RebuildOfAnother: Error, CustomStringConvertible {
    package let projection: String
    package let owner: String
    package var description: String {
        """
        \(projection): a rebuild was begun as \(owner), and only \(owner) can resume it: run rebuild as \(owner), or \
        cancel that one first: jobledger rebuild \(projection) --cancel
        """
    }
}
