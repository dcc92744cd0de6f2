import EventStore
import Foundation
import LedgerCore
import Postgres

/// What to do about an event that has stopped a projection: try it again, or leave it out.
public enum SkippedEvents {
    /// The events of a window that are left out of `definition`, in their order. Every fold asks, so that none can forget.
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

    /// Records that `projection` leaves out the event that has stopped it, and sets it going again.
    /// - Returns: the event's id.
    public static func skip(
        _ position: Position, of projection: String, because reason: String, by: String, on connection: PostgresConnection
    ) async throws -> UUID {
        try await connection.query("SELECT skip_event($1, $2, $3, $4)", projection, position, reason, by).only().decode(0)
    }

    /// Sets a stopped projection going again. False where it is not stopped.
    public static func retry(_ projection: String, on connection: PostgresConnection) async throws -> Bool {
        try await connection.query("SELECT retry_projection($1)", projection).only().decode(0)
    }
}

/// Who is at work, for records.
public enum Author {
    /// The user and the machine of this process.
    public static var current: String {
        var name = [CChar](repeating: 0, count: 256)
        // Cut at 255 bytes, which is the longest that a name can be.
        let host =
            gethostname(&name, 255) == 0
            ? String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : "?"
        return "\(NSUserName())@\(host)"
    }
}
