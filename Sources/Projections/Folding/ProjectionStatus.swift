package import Foundation
package import LedgerCore
package import Postgres

/// A projection, its drift checks and its rebuild at one moment, for `jobledger status` and for the
/// service's health and metrics.
package struct ProjectionStatus: Sendable {
    /// The result of refolding samples of jobs.
    package struct Drift: Sendable {
        /// How many jobs were compared, and how many of them had drifted from the log.
        package let jobs: Int64
        package let drifted: Int64
        /// In UTC.
        package let checkedAt: String
    }

    package let name: String
    package let position: Position
    /// Whether a projector works on it now.
    package let isActive: Bool
    /// Why and at which event the projection stopped; `nil` while it runs.
    package let stopped: (position: Position?, event: UUID?, error: String)?
    /// `nil` before the first check.
    package let drift: Drift?
    /// The position of an unfinished rebuild, and where the log ended when it began.
    package let rebuild: (position: Position, goal: Position)?

    /// Projectors write the rows of projections, so whoever publishes them limits their number and
    /// the length of their texts.
    /// - Parameters:
    ///   - most: the most projections; `nil` for all.
    ///   - longestText: names and errors are cut after so many characters.
    package static func statement(most: Int64? = nil, longestText: Int32 = .max) -> PostgresStatement {
        PostgresStatement(sql, [most, longestText])
    }

    private static let sql = """
        SELECT left(projections.name, $2) AS name, projections.position,
               \(ProjectionState.hasProjector) AS is_active,
               projections.failed_position, projections.failed_event, left(projections.error, $2) AS error,
               drift.jobs, drift.drifted,
               to_char(drift.checked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS checked_at,
               rebuilds.goal, \(RebuildState.positionExpression) AS rebuild_position
          FROM projections
          LEFT JOIN drift_checks AS drift ON drift.projection = projections.name
          LEFT JOIN rebuilds ON rebuilds.projection = projections.name
         ORDER BY projections.name LIMIT $1
        """

    /// - Parameter row: a row of ``statement(most:longestText:)``.
    package init(_ row: PostgresRow) throws {
        name = try row.decode("name")
        position = try row.decode("position")
        isActive = try row.decode("is_active")
        stopped = try row.decode("error", as: String?.self).map {
            (try row.decode("failed_position"), try row.decode("failed_event"), $0)
        }
        drift = try row.decode("jobs", as: Int64?.self).map {
            Drift(jobs: $0, drifted: try row.decode("drifted"), checkedAt: try row.decode("checked_at"))
        }
        rebuild = try row.decode("goal", as: Position?.self).map { (try row.decode("rebuild_position"), $0) }
    }
}
