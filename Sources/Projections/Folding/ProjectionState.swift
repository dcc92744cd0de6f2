package import Foundation
package import LedgerCore
package import Postgres

/// A projection's row in the ledger.
package struct ProjectionState: Sendable, Equatable {
    package let name: String
    package let definition: String
    package internal(set) var position: Position
    /// Empty where an older program made them.
    package let tables: [String]
    /// Why it does not go on, and at which event; `nil` while it runs.
    package let stopped: (position: Position?, event: UUID?, error: String)?

    package static func == (a: Self, b: Self) -> Bool {
        a.name == b.name && a.definition == b.definition && a.position == b.position
            && a.stopped?.error == b.stopped?.error
    }

    private static let columns = "name, definition, position, tables, failed_position, failed_event, error"

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

    /// Holds the projection still for the rest of the transaction.
    static func lock(_ name: String, on connection: PostgresConnection) async throws -> ProjectionState? {
        try await connection.query("SELECT \(columns) FROM projections WHERE name = $1 FOR UPDATE", name).first
            .map { try ProjectionState($0) }
    }

    /// Registers a definition at a position, or puts it in the place of the one that is registered.
    static func register(_ definition: ProjectionDefinition, at position: Position, on connection: PostgresConnection)
        async throws
    {
        try await connection.query(
            """
            INSERT INTO projections (name, definition, position, tables) VALUES ($1, $2, $3, $4)
            ON CONFLICT (name) DO UPDATE
               SET definition = excluded.definition, position = excluded.position, tables = excluded.tables, state = 'running',
                   failed_position = null, failed_event = null, error = null, updated_at = clock_timestamp()
            """, definition.name, definition.hash, position, definition.tables)
    }

    /// Moves the checkpoint on by compare-and-swap. False where the projection is not where the
    /// caller believes.
    static func advance(
        _ definition: ProjectionDefinition, from: Position, to: Position, on connection: PostgresConnection
    ) async throws -> Bool {
        try await connection.query(
            """
            UPDATE projections SET position = $4, state = 'running', failed_position = null, failed_event = null,
                   error = null, updated_at = clock_timestamp()
             WHERE name = $1 AND definition = $2 AND position = $3
            """, definition.name, definition.hash, from, to
        ).affected == 1
    }

    /// Stops the projection before the event at `failed`. False where it is not right before it:
    /// somebody else has moved it.
    static func stop(
        _ definition: ProjectionDefinition, failed: Position, event: UUID?, error: String,
        on connection: PostgresConnection
    ) async throws -> Bool {
        try await connection.query(
            """
            UPDATE projections SET state = 'stopped', failed_position = $3, failed_event = $4, error = $5,
                   updated_at = clock_timestamp()
             WHERE name = $1 AND definition = $2 AND position = $3 - 1
            """, definition.name, definition.hash, failed, event, error
        ).affected == 1
    }
}
