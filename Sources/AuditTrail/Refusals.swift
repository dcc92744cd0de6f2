import EventStore
import LedgerCore
import Postgres

/// Something that the service has refused, as the ledger keeps it.
public struct RecordedRefusal: Sendable, Equatable {
    public var number: Int64
    public var firstAt: Timestamp
    public var lastAt: Timestamp
    /// How often, between the two.
    public var times: Int64
    /// The id of the token, or the one that was claimed, and its name where there is one and who asks may know it.
    public var token: ExactText?
    public var tokenName: String?
    public var peer: String?
    public var method: String
    public var path: String
    public var actor: ExactText?
    public var job: JobID?
    public var type: String?
    public var eventID: EventID?
    public var code: String
    public var detail: String
    /// The database's user who wrote it down, a service; `nil` in rows that are older than this column.
    public var notedBy: String?
}

/// Which refusals: conditions that all have to hold, and a page.
public struct RefusalQuery: Sendable {
    public var actor: ExactText?
    public var token: ExactText?
    public var job: JobID?
    public var code: ExactText?
    public var order: TrailQuery.Order
    /// The last number of the page before.
    public var after: Int64?
    public var limit: Int

    public init(order: TrailQuery.Order = .newest, limit: Int = 100) {
        self.order = order
        self.limit = limit
    }

    var statement: PostgresStatement {
        var parameters: [any PostgresEncodable] = []
        var conditions = ["true"]
        for (column, value) in [("actor", actor), ("token", token), ("job", job), ("code", code)] {
            guard let value else { continue }
            parameters.append(value)
            conditions.append("\(column) = $\(parameters.count)")
        }
        if let after {
            parameters.append(after)
            conditions.append("number \(order == .newest ? "<" : ">") $\(parameters.count)")
        }
        parameters.append(limit)
        return PostgresStatement(
            """
            SELECT number, first_at, last_at, times, token, token_name(token) AS token_name, peer, method, path, actor, job, type, event_id, code, detail,
                   noted_by
              FROM (SELECT * FROM refusals
                     WHERE \(conditions.joined(separator: " AND "))
                     ORDER BY number \(order == .newest ? "DESC" : "ASC") LIMIT $\(parameters.count)) AS page
             ORDER BY number \(order == .newest ? "DESC" : "ASC")
            """, parameters)
    }
}

extension AuditTrail {
    /// What the service has refused.
    public func refusals(_ query: RefusalQuery) async throws -> [RecordedRefusal] {
        try await store.pool.withConnection { connection in
            try await connection.query(query.statement).map { row in
                RecordedRefusal(
                    number: try row.decode(0), firstAt: Timestamp(try row.decode(1, as: PostgresTimestamp.self)),
                    lastAt: Timestamp(try row.decode(2, as: PostgresTimestamp.self)), times: try row.decode(3),
                    token: try row.decode(4), tokenName: try row.decode(5), peer: try row.decode(6), method: try row.decode(7),
                    path: try row.decode(8), actor: try row.decode(9), job: try row.decode(10), type: try row.decode(11),
                    eventID: try row.decode(12), code: try row.decode(13), detail: try row.decode(14), notedBy: try row.decode(15)
                )
            }
        }
    }
}
