package import LedgerCore
package import Postgres

/// A receipt in the ledger: what a rebuild or a verification proved, when, and by whom.
package struct RecordedReceipt: Sendable {
    package enum Kind: String, Sendable {
        case rebuild, verify, undo
    }

    package let number: Int64
    package let kind: String
    package let projection: String
    package let definition: String
    package let position: Position
    package let rows: Int64?
    package let digest: String?
    /// The digest of the tables in use at the same position, if the same definition made both.
    package let liveDigest: String?
    package let events: Int64?
    package let seconds: Double?
    package let workers: Int?
    package let window: Int64?
    package let blockedMilliseconds: Double?
    /// How many events were skipped up to the position; `nil` in receipts older than this column.
    package let leftOut: Int64?
    package let madeAt: String
    /// The author that the program named; ``role`` is the database user of its session.
    package let madeBy: String
    package let role: String

    /// The last `limit` receipts, newest first.
    package static func last(_ limit: Int, of projection: String?, on connection: PostgresConnection) async throws
        -> [RecordedReceipt]
    {
        try await connection.query(latest, projection, limit).map { row in
            RecordedReceipt(
                number: try row.decode("number"), kind: try row.decode("kind"),
                projection: try row.decode("projection"), definition: try row.decode("definition"),
                position: try row.decode("position"), rows: try row.decode("rows"),
                digest: try row.decode("digest"), liveDigest: try row.decode("live_digest"),
                events: try row.decode("events"), seconds: try row.decode("seconds"),
                workers: try row.decode("workers"), window: try row.decode("window_events"),
                blockedMilliseconds: try row.decode("blocked_ms"), leftOut: try row.decode("left_out"),
                madeAt: try row.decode("made_at"), madeBy: try row.decode("made_by"), role: try row.decode("role"))
        }
    }

    private static let latest = """
        SELECT number, kind, projection, definition, position, rows, digest, live_digest, events, seconds, workers,
               window_events, blocked_ms, made_by, role, left_out,
               to_char(made_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS made_at
          FROM receipts
         WHERE $1::text IS NULL OR projection = $1
         ORDER BY number DESC LIMIT $2
        """

    static func add(
        _ kind: Kind, _ definition: ProjectionDefinition, at position: Position, digest: TableDigest, live: String?,
        events: Int64, duration: Duration, workers: Int, window: Int64, blocked: Duration? = nil, by: String,
        on connection: PostgresConnection
    ) async throws {
        try await connection.query(
            "SELECT record_receipt($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            kind.rawValue, definition.name, definition.hash, position, digest.rows, digest.digest, live, events,
            duration / .seconds(1), Int32(clamping: workers), window, blocked.map { $0 / .milliseconds(1) }, by)
    }
}
