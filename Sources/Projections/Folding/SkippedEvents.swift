import EventStore
package import Foundation
package import LedgerCore
package import Postgres

/// What an operator can do about an event that stopped a projection: retry it, or skip it.
package enum SkippedEvents {
    /// The skipped events of a window, in their order. Every fold asks for them here, so that none
    /// forgets.
    static func positions(
        of definition: ProjectionDefinition, after: Position, upTo: Position, on connection: PostgresConnection
    ) async throws -> [Position] {
        try await connection.query(
            PostgresStatement(skippedInWindow, [definition.name, definition.hash, after, upTo], isPrepared: true)
        ).map { try $0.decode(0) }
    }

    private static let skippedInWindow = """
        SELECT position FROM skipped_events
         WHERE projection = $1 AND definition = $2 AND position > $3 AND position <= $4 ORDER BY position
        """

    /// Who skipped which event of `definition`, and why, up to a position.
    static func records(
        of definition: ProjectionDefinition, upTo position: Position, on connection: PostgresConnection
    ) async throws -> [SkippedEvent] {
        try await connection.query(skippedUpTo, definition.name, definition.hash, position).map { row in
            SkippedEvent(
                position: try row.decode(0), event: try row.decode(1), reason: try row.decode(2),
                error: try row.decode(3), role: try row.decode(4), skippedBy: try row.decode(5),
                skippedAt: try row.decode(6))
        }
    }

    private static let skippedUpTo = """
        SELECT position, event_id, reason, error, role, skipped_by,
               to_char(skipped_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
          FROM skipped_events WHERE projection = $1 AND definition = $2 AND position <= $3 ORDER BY position
        """

    /// Records that `projection` skips the event that stopped it, and lets the projection run
    /// again.
    /// - Returns: the event's id.
    package static func skip(
        _ position: Position, of projection: String, because reason: String, by: String,
        on connection: PostgresConnection
    ) async throws -> UUID {
        try await connection.query("SELECT skip_event($1, $2, $3, $4)", projection, position, reason, by).only().decode(
            0)
    }

    /// Lets a stopped projection run again. Returns false if it is not stopped.
    package static func retry(_ projection: String, on connection: PostgresConnection) async throws -> Bool {
        try await connection.query("SELECT retry_projection($1)", projection).only().decode(0)
    }
}

/// An event that a projection skips, as recorded in the ledger.
package struct SkippedEvent: Sendable {
    package let position: Position
    package let event: UUID
    /// Why the operator skipped it.
    package let reason: String
    /// Why it could not be folded.
    package let error: String
    /// The database user whose session recorded it; ``skippedBy`` is the author that the program
    /// named.
    package let role: String
    package let skippedBy: String
    /// In UTC.
    package let skippedAt: String
}

/// Names the author of records.
package enum Author {
    /// The user and the machine of this process.
    package static var current: String {
        var name = [CChar](repeating: 0, count: 256)
        // A host name longer than 255 bytes is cut.
        let host =
            gethostname(&name, 255) == 0
            ? String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : "?"
        return "\(NSUserName())@\(host)"
    }
}
