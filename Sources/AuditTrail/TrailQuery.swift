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

    /// Each condition has an index that ends in the position, or that finds few rows: see
    /// projections/audit_log. Only the events of the page itself are looked up in the log.
    package var statement: PostgresStatement {
        var parameters: [any PostgresEncodable] = []
        func parameter(_ value: any PostgresEncodable) -> String {
            parameters.append(value)
            return "$\(parameters.count)"
        }
        var conditions: [String] = []
        if let actor { conditions.append("actor = \(parameter(actor.inTrail))") }
        if let type {
            // The indexes by type leave out progress. The planner uses them only where the
            // condition says the same.
            conditions.append(
                type == .progress ? "type = 'progress'" : "type = '\(type.rawValue)' AND type <> 'progress'")
        }
        if let correlationID { conditions.append("correlation_id = \(parameter(correlationID.inTrail))") }
        if let text { conditions.append("words @@ plainto_tsquery('simple', \(parameter(text)))") }
        let (first, last) = bounds
        if let first { conditions.append("position >= \(parameter(first))") }
        if let last { conditions.append("position <= \(parameter(last))") }
        // The index of the log finds the events of a job in the order of their versions, which is
        // also that of their positions.
        let source =
            job.map {
                """
                (SELECT audit_log.* FROM events JOIN audit_log USING (position)
                  WHERE category = 'job' AND stream_id = \(parameter($0))) AS audit_log
                """
            } ?? "audit_log"
        let direction = order == .newest ? "DESC" : "ASC"
        let sql = """
            SELECT \(Self.columns), \(Self.detail)
              FROM (SELECT * FROM \(source)
                     \(conditions.isEmpty ? "" : "WHERE ")\(conditions.joined(separator: " AND "))
                     ORDER BY position \(direction) LIMIT \(parameter(limit))) AS trail
              LEFT JOIN events AS event ON event.position = trail.position
             ORDER BY trail.position \(direction)
            """
        return PostgresStatement(sql, parameters)
    }

    /// The first and last position that the page may have. Adding 1 to `after` cannot overflow: the
    /// callers accept only values within `Position.positions`.
    private var bounds: (first: Position?, last: Position?) {
        guard let after else { return (from, to) }
        return order == .newest ? (from, min(to ?? .max, after - 1)) : (max(from ?? 0, after + 1), to)
    }
}
