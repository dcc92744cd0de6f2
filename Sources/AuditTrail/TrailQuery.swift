import EventStore
package import LedgerCore
package import Postgres

/// A query to the read model `audit_log`: conditions, all of which must hold, and a page.
package struct TrailQuery: Sendable, Equatable {
    package var actor: ExactText?
    package var type: EventType?
    package var job: JobID?
    package var correlationID: ExactText?
    /// Words that must all occur, in any order and in upper or lower case.
    package var text: String?
    /// The first position.
    package var from: Position?
    /// The last position.
    package var to: Position?

    package enum Order: String, Sendable, CaseIterable { case newest, oldest }
    package var order: Order
    /// The position of the last entry on the page before.
    package var after: Position?
    package var limit: Int

    package init(order: Order = .newest, limit: Int = 100) {
        self.order = order
        self.limit = limit
    }

    static let columns = """
        trail.position, trail.event_id, trail.actor, trail.job, trail.version, trail.type, trail.recorded_at,
        trail.occurred_at, trail.correlation_id, trail.causation_id, trail.source
        """

    /// What the data of an event says that its type does not.
    static let detail = """
        left(CASE trail.type
               WHEN 'queued'    THEN event.data ->> 'name'
               WHEN 'progress'  THEN coalesce(event.data ->> 'message', event.completed || ' done')
               WHEN 'truncated' THEN event.data ->> 'reason'
               WHEN 'failed'    THEN event.data ->> 'error'
             END, 1000) AS detail
        """

    /// Only the events of the page itself are looked up in the log.
    package var statement: PostgresStatement {
        var parameters = PostgresParameters()
        let conditions = conditions(&parameters)
        let source = job.map { Self.trail(ofJobAt: parameters.add($0)) } ?? "audit_log"
        let direction = order == .newest ? "DESC" : "ASC"
        return PostgresStatement(
            """
            SELECT \(Self.columns), \(Self.detail)
              FROM (SELECT * FROM \(source)
                     \(conditions.isEmpty ? "" : "WHERE ")\(conditions.joined(separator: " AND "))
                     ORDER BY position \(direction) LIMIT \(parameters.add(limit))) AS trail
              LEFT JOIN events AS event ON event.position = trail.position
             ORDER BY trail.position \(direction)
            """, parameters.values)
    }

    /// Each condition has an index that ends in the position, or that finds few rows: see
    /// projections/audit_log.
    private func conditions(_ parameters: inout PostgresParameters) -> [String] {
        var conditions: [String] = []
        if let actor { conditions.append("actor = \(parameters.add(actor.inTrail))") }
        if let type {
            // The indexes by type leave out progress. The planner uses them only where the
            // condition says the same.
            conditions.append(
                type == .progress ? "type = 'progress'" : "type = '\(type.rawValue)' AND type <> 'progress'")
        }
        if let correlationID { conditions.append("correlation_id = \(parameters.add(correlationID.inTrail))") }
        if let text { conditions.append("words @@ plainto_tsquery('simple', \(parameters.add(text)))") }
        let (first, last) = bounds
        if let first { conditions.append("position >= \(parameters.add(first))") }
        if let last { conditions.append("position <= \(parameters.add(last))") }
        return conditions
    }

    /// The entries of one job. The index of the log finds its events in the order of their
    /// versions, which is also that of their positions.
    private static func trail(ofJobAt parameter: String) -> String {
        """
        (SELECT audit_log.* FROM events JOIN audit_log USING (position)
          WHERE category = 'job' AND stream_id = \(parameter)) AS audit_log
        """
    }

    /// The first and last position that the page may have. Adding 1 to `after` cannot overflow: the
    /// callers accept only values within `Position.positions`.
    private var bounds: (first: Position?, last: Position?) {
        guard let after else { return (from, to) }
        return order == .newest ? (from, min(to ?? .max, after - 1)) : (max(from ?? 0, after + 1), to)
    }
}
