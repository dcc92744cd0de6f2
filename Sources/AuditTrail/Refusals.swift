import EventStore
package import LedgerCore
import Postgres

/// A request that the service has refused, as the ledger records it. Equal refusals close together
/// are one record.
package struct RecordedRefusal: Sendable, Equatable {
    package var number: Int64
    package var firstAt: Timestamp
    package var lastAt: Timestamp
    /// How often it was refused between the two times.
    package var times: Int64
    /// The id of the token. Of a token that is not valid, it is the id that the request claimed.
    package var token: ExactText?
    /// `nil` where the token has no name, or where the database user may not read it.
    package var tokenName: String?
    package var peer: String?
    package var method: String
    package var path: String
    package var actor: ExactText?
    /// The category of the stream; `nil` where the request names no stream.
    package var category: String?
    /// The id of the stream: of the job, if the category is that of jobs.
    package var job: JobID?
    package var type: String?
    package var eventID: EventID?
    package var code: String
    package var detail: String
    /// The database user of the service that recorded it; `nil` in rows that are older than this
    /// column.
    package var notedBy: String?
}

/// A query for recorded refusals: conditions, all of which must hold, and a page.
package struct RefusalQuery: Sendable {
    package var actor: ExactText?
    package var token: ExactText?
    /// The category of the stream; `nil` for all, but with a job for that of jobs. It need not be
    /// one that the ledger has: an append to another one is refused, too.
    package var category: ExactText?
    /// The job, or the stream of the category.
    package var job: JobID?
    package var code: ExactText?
    package var order: TrailQuery.Order
    /// The number of the last refusal on the page before.
    package var after: Int64?
    package var limit: Int

    package init(order: TrailQuery.Order = .newest, limit: Int = 100) {
        self.order = order
        self.limit = limit
    }

    private static let columns = """
        number, first_at, last_at, times, token, token_name(token) AS token_name, peer, method, path,
        actor, job, type, event_id, code, detail, noted_by,
        coalesce(category, CASE WHEN job IS NOT NULL THEN 'job' END) AS category
        """

    var statement: PostgresStatement {
        var parameters = PostgresParameters()
        let conditions = conditions(&parameters).joined(separator: " AND ")
        let direction = order == .newest ? "DESC" : "ASC"
        return PostgresStatement(
            """
            SELECT \(Self.columns)
              FROM (SELECT * FROM refusals
                     WHERE \(conditions)
                     ORDER BY number \(direction) LIMIT \(parameters.add(limit))) AS page
             ORDER BY number \(direction)
            """, parameters.values)
    }

    private func conditions(_ parameters: inout PostgresParameters) -> [String] {
        var conditions = ["true"]
        for (column, value) in [("actor", actor), ("token", token), ("job", job), ("code", code)] {
            if let value { conditions.append("\(column) = \(parameters.add(value))") }
        }
        if let category = category ?? job.map({ _ in "job" }) {
            // Rows from before other categories have none.
            conditions.append(
                category == "job"
                    ? "job IS NOT NULL AND coalesce(category, 'job') = 'job'"
                    : "category = \(parameters.add(category))")
        }
        if let after { conditions.append("number \(order == .newest ? "<" : ">") \(parameters.add(after))") }
        return conditions
    }
}

extension AuditTrail {
    /// The refusals that the service has recorded.
    package func refusals(_ query: RefusalQuery) async throws -> [RecordedRefusal] {
        try await store.pool.withConnection { connection in
            try await connection.query(query.statement).map { row in
                RecordedRefusal(
                    number: try row.decode(0), firstAt: Timestamp(try row.decode(1, as: PostgresTimestamp.self)),
                    lastAt: Timestamp(try row.decode(2, as: PostgresTimestamp.self)), times: try row.decode(3),
                    token: try row.decode(4), tokenName: try row.decode(5), peer: try row.decode(6),
                    method: try row.decode(7), path: try row.decode(8), actor: try row.decode(9),
                    category: try row.decode(16), job: try row.decode(10), type: try row.decode(11),
                    eventID: try row.decode(12), code: try row.decode(13), detail: try row.decode(14),
                    notedBy: try row.decode(15))
            }
        }
    }
}
