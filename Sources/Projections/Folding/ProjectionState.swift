package import Foundation
package import LedgerCore
package import Postgres

/// A projection's row in the ledger.
package struct ProjectionState: Sendable, Equatable {
    package let name: String
    package let definition: String
    package internal(set) var position: Position
    /// Empty in rows that an older version wrote.
    package let tables: [String]
    /// Why and at which event the projection stopped; `nil` while it runs.
    package let stopped: (position: Position?, event: UUID?, error: String)?

    package static func == (a: Self, b: Self) -> Bool {
        a.name == b.name && a.definition == b.definition && a.position == b.position
            && a.stopped?.error == b.stopped?.error
    }

    private static let columns = "name, definition, position, tables, failed_position, failed_event, error"

    /// The SQL condition that a projector works on the projection of a row of `projections`.
    static let hasProjector =
        "EXISTS (SELECT FROM leases WHERE leases.name = 'projection:' || projections.name AND is_held(expires_at))"

    private init(_ row: PostgresRow) throws {
        name = try row.decode("name")
        definition = try row.decode("definition")
        position = try row.decode("position")
        stopped = try row.decode("error", as: String?.self).map {
            (try row.decode("failed_position"), try row.decode("failed_event"), $0)
        }
        tables = try row.decode("tables")
    }

    package static func all(on connection: PostgresConnection) async throws -> [ProjectionState] {
        try await connection.query("SELECT \(columns) FROM projections ORDER BY name").map { try ProjectionState($0) }
    }

    static func load(_ name: String, on connection: PostgresConnection) async throws -> ProjectionState? {
        try await connection.query("SELECT \(columns) FROM projections WHERE name = $1", name).first.map {
            try ProjectionState($0)
        }
    }

    /// Locks the row, so that the projection stands still for the rest of the transaction.
    static func lock(_ name: String, on connection: PostgresConnection) async throws -> ProjectionState? {
        try await connection.query("SELECT \(columns) FROM projections WHERE name = $1 FOR UPDATE", name).first
            .map { try ProjectionState($0) }
    }

    private static let registration = """
        INSERT INTO projections (name, definition, position, tables) VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE
           SET definition = excluded.definition, position = excluded.position, tables = excluded.tables,
               state = 'running', failed_position = null, failed_event = null, error = null,
               updated_at = clock_timestamp()
        """
    /// Registers a definition at a position, in place of the registered one if there is any.
    static func register(_ definition: ProjectionDefinition, at position: Position, on connection: PostgresConnection)
        async throws
    {
        try await connection.query(registration, definition.name, definition.hash, position, definition.tables)
    }

    /// Moves the checkpoint by compare-and-swap. Returns false if it is no longer at `from`.
    static func advance(
        _ definition: ProjectionDefinition, from: Position, to: Position, on connection: PostgresConnection
    ) async throws -> Bool {
        try await connection.query(advancement, definition.name, definition.hash, from, to).affected == 1
    }

    private static let advancement = """
        UPDATE projections SET position = $4, state = 'running', failed_position = null, failed_event = null,
               error = null, updated_at = clock_timestamp()
         WHERE name = $1 AND definition = $2 AND position = $3
        """

    /// Stops the projection before the event at `failed`. Returns false if it is not right before
    /// that event, because another process has moved it.
    static func stop(
        _ definition: ProjectionDefinition, failed: Position, event: UUID?, error: String,
        on connection: PostgresConnection
    ) async throws -> Bool {
        try await connection.query(stopping, definition.name, definition.hash, failed, event, error).affected == 1
    }

    private static let stopping = """
        UPDATE projections SET state = 'stopped', failed_position = $3, failed_event = $4, error = $5,
               updated_at = clock_timestamp()
         WHERE name = $1 AND definition = $2 AND position = $3 - 1
        """
}
