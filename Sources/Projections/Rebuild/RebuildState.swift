package import Foundation
package import LedgerCore
package import Postgres

/// The state of an unfinished rebuild, for `status` and plans.
package struct RebuildState: Sendable {
    package let projection: String
    package let definition: String
    /// The tables' position; while slices are folded, the mean of their positions.
    package let position: Position
    package let goal: Position
    /// In UTC.
    package let startedAt: String
    package let startedBy: String
    /// Whether a process works on it now.
    package let isActive: Bool
    package let failed: (position: Position, event: UUID?, error: String)?

    package static func all(ledger: LedgerName, on connection: PostgresConnection) async throws -> [RebuildState] {
        try await connection.query(unfinished, ReplayLock.rebuildPrefix(ledger)).map { row in
            let failed: Position? = try row.decode("failed_position")
            return RebuildState(
                projection: try row.decode("projection"), definition: try row.decode("definition"),
                position: try row.decode("position"), goal: try row.decode("goal"),
                startedAt: try row.decode("started_at"), startedBy: try row.decode("started_by"),
                isActive: try row.decode("is_active"),
                failed: try failed.map { ($0, try row.decode("failed_event"), try row.decode("error")) })
        }
    }

    /// SQL for ``position``, of a row of `rebuilds`.
    static let positionExpression = """
        coalesce(rebuilds.position,
                 (SELECT avg(slice.position)::bigint FROM rebuild_slices AS slice WHERE slice.rebuild = rebuilds.id))
        """

    /// A process that works on a rebuild holds its advisory lock, whose key begins with $1.
    private static let unfinished = """
        SELECT projection, definition, goal, started_by, failed_position, failed_event, error,
               to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS started_at,
               \(positionExpression) AS position,
               EXISTS (SELECT FROM pg_locks
                        WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' AND objsubid = 1
                          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                          AND classid::bigint << 32 | objid::bigint = hashtextextended($1 || projection, 0)
                      ) AS is_active
          FROM rebuilds
         ORDER BY projection
        """
}
