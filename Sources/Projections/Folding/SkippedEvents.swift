import EventStore
package import Foundation
package import LedgerCore
package import Postgres

/// What to do about an event that has stopped a projection: try it again, or leave it out.
package enum SkippedEvents {
    /// The events of a window that are left out of `definition`, in their order. Every fold asks,
    /// so that none can forget.
    static func positions(
        of definition: ProjectionDefinition, after: Position, upTo: Position, on connection: PostgresConnection
    ) async throws -> [Position] {
        try await connection.query(
            PostgresStatement(
                """
                SELECT position FROM skipped_events
                 WHERE projection = $1 AND definition = $2 AND position > $3 AND position <= $4 ORDER BY position
                """, [definition.name, definition.hash, after, upTo], isPrepared: true)
        ).map { try $0.decode(0) }
    }

    /// Who left out which event of `definition`, and why, up to a position.
    static func records(
        of definition: ProjectionDefinition, upTo position: Position, on connection: PostgresConnection
    ) async throws -> [SkippedEvent] {
        try await connection.query(
            """
            SELECT position, event_id, reason, error, role, skipped_by,
                   to_char(skipped_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
              FROM skipped_events WHERE projection = $1 AND definition = $2 AND position <= $3 ORDER BY position
            """, definition.name, definition.hash, position
        ).map { row in
            SkippedEvent(
                position: try row.decode(0), event: try row.decode(1), reason: try row.decode(2),
                error: try row.decode(3),
                role: try row.decode(4), skippedBy: try row.decode(5), skippedAt: try row.decode(6))
        }
    }

    /// Records that `projection` leaves out the event that has stopped it, and sets it going again.
    /// - Returns: the event's id.
    package static func skip(
        _ position: Position, of projection: String, because reason: String, by: String,
        on connection: PostgresConnection
    ) async throws -> UUID {
        try await connection.query("SELECT skip_event($1, $2, $3, $4)", projection, position, reason, by).only().decode(
            0)
    }

    /// Sets a stopped projection going again. False where it is not stopped.
    package static func retry(_ projection: String, on connection: PostgresConnection) async throws -> Bool {
        try await connection.query("SELECT retry_projection($1)", projection).only().decode(0)
    }
}

/// An event that a projection leaves out, as the ledger has it on record.
package struct SkippedEvent: Sendable {
    package let position: Position
    package let event: UUID
    /// Why it may be left out.
    package let reason: String
    /// Why it could not be folded.
    package let error: String
    /// The database's user whose session recorded it; ``skippedBy`` is what the program said.
    package let role: String
    package let skippedBy: String
    /// In UTC.
    package let skippedAt: String
}

/// Who is at work, for records.
package enum Author {
    /// The user and the machine of this process.
    package static var current: String {
        var name = [CChar](repeating: 0, count: 256)
        // Cut at 255 bytes, which is the longest that a name can be.
        let host =
            gethostname(&name, 255) == 0
            ? String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : "?"
        return "\(NSUserName())@\(host)"
    }
}
