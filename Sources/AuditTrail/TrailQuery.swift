import EventStore
package import LedgerCore
package import Postgres

/// A query to the read model `audit_log`: conditions, all of which must hold, and a page.
package struct TrailQuery: Sendable, Equatable {
    package var actor: ExactText?
    /// `nil` for all categories; but with a type or a job, which are of jobs then, for that of
    /// jobs.
    package var category: Category?
    package var type: EventType?
    /// The job, or the stream of the category.
    package var job: JobID?
    package var correlationID: ExactText?
    /// Words that must all occur, in any order and in upper or lower case. Only events of jobs have
    /// words.
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
        trail.position, trail.event_id, trail.actor, trail.category, trail.stream_id, trail.version, trail.type,
        trail.recorded_at, trail.occurred_at, trail.correlation_id, trail.causation_id, trail.source
        """

    /// What the data of a job's event say that its type does not. Those of other categories may be
    /// personal, and the same type may mean something else there.
    static let detail = """
        CASE WHEN trail.category = 'job' THEN
          left(CASE trail.type
                 WHEN 'queued'    THEN event.data ->> 'name'
                 WHEN 'progress'  THEN coalesce(event.data ->> 'message', event.completed || ' done')
                 WHEN 'truncated' THEN event.data ->> 'reason'
                 WHEN 'failed'    THEN event.data ->> 'error'
               END, 1000)
        END AS detail
        """

    /// Only the events of the page itself are looked up in the log.
    package var statement: PostgresStatement {
        var parameters = PostgresParameters()
        let conditions = conditions(&parameters)
        let source = job.map { Self.trail(of: category ?? .job, at: parameters.add($0)) } ?? "audit_log"
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
        // Category and type are parts of the text. The indexes by them leave out the progress of
        // jobs, and the planner can tell whether that matters only where it knows the values. A
        // stream's events are looked up in the log.
        if let category = category ?? (type == nil ? nil : .job), job == nil {
            conditions.append("category = \(category.sql)")
        }
        if let type { conditions.append("type = '\(type.rawValue)'") }
        if let correlationID { conditions.append("correlation_id = \(parameters.add(correlationID.inTrail))") }
        if let text { conditions.append("words @@ plainto_tsquery('simple', \(parameters.add(text)))") }
        let (first, last) = bounds
        if let first { conditions.append("position >= \(parameters.add(first))") }
        if let last { conditions.append("position <= \(parameters.add(last))") }
        return conditions
    }

    /// The entries of one stream. The index of the log finds its events in the order of their
    /// versions, which is also that of their positions.
    private static func trail(of category: Category, at parameter: String) -> String {
        """
        (SELECT audit_log.* FROM events JOIN audit_log USING (position)
          WHERE events.category = \(category.sql) AND events.stream_id = \(parameter)) AS audit_log
        """
    }

    /// The first and last position that the page may have. Adding 1 to `after` cannot overflow: the
    /// callers accept only values within `Position.positions`.
    private var bounds: (first: Position?, last: Position?) {
        guard let after else { return (from, to) }
        return order == .newest ? (from, min(to ?? .max, after - 1)) : (max(from ?? 0, after + 1), to)
    }
}
