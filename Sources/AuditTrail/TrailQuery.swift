import EventStore
package import LedgerCore
package import Postgres

/// What an auditor asks of the read model `audit_log`: conditions that all have to hold, and a
/// page.
package struct TrailQuery: Sendable, Equatable {
    package var actor: ExactText?
    package var type: EventType?
    package var job: JobID?
    package var correlationID: ExactText?
    /// Words that all have to occur, in any order; upper and lower case are one.
    package var text: String?
    /// The first position, and the last.
    package var from: Position?
    package var to: Position?

    package enum Order: String, Sendable, CaseIterable { case newest, oldest }
    package var order: Order
    /// The last position of the page before.
    package var after: Position?
    package var limit: Int

    package init(order: Order = .newest, limit: Int = 100) {
        self.order = order
        self.limit = limit
    }

    static let columns = """
        trail.position, trail.event_id, trail.actor, trail.job, trail.version, trail.type, trail.recorded_at, trail.occurred_at,
        trail.correlation_id, trail.causation_id, trail.source
        """

    /// Of which events the data say what cannot be told from the type.
    static let detail = """
        left(CASE trail.type
               WHEN 'queued'    THEN event.data ->> 'name'
               WHEN 'progress'  THEN coalesce(event.data ->> 'message', event.completed || ' done')
               WHEN 'truncated' THEN event.data ->> 'reason'
               WHEN 'failed'    THEN event.data ->> 'error'
             END, 1000) AS detail
        """

    /// Every way through it is an index that ends in the position, or has few rows: see
    /// projections/audit_log. The events themselves are looked up for the page alone.
    package var statement: PostgresStatement {
        var parameters: [any PostgresEncodable] = []
        func parameter(_ value: any PostgresEncodable) -> String {
            parameters.append(value)
            return "$\(parameters.count)"
        }
        var conditions: [String] = []
        if let actor { conditions.append("actor = \(parameter(actor.inTrail))") }
        if let type {
            // The indexes by type leave out progress, and are found only where the statement says
            // so.
            conditions.append(
                type == .progress ? "type = 'progress'" : "type = '\(type.rawValue)' AND type <> 'progress'")
        }
        if let correlationID { conditions.append("correlation_id = \(parameter(correlationID.inTrail))") }
        if let text { conditions.append("words @@ plainto_tsquery('simple', \(parameter(text)))") }
        let (first, last) = bounds
        if let first { conditions.append("position >= \(parameter(first))") }
        if let last { conditions.append("position <= \(parameter(last))") }
        // A job's events are found by the log's own index, in the order of their versions, which is
        // that of positions.
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

    /// The positions that the page may have; `after` comes from people, and is none beyond
    /// `Position.positions`.
    private var bounds: (first: Position?, last: Position?) {
        guard let after else { return (from, to) }
        return order == .newest ? (from, min(to ?? .max, after - 1)) : (max(from ?? 0, after + 1), to)
    }
}
