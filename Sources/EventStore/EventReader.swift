import LedgerCore
import Postgres

/// Which events to read: always in the log's order.
public struct EventQuery: Sendable {
    public var after: Position
    public var upTo: Position?
    public var job: String?
    /// `nil` for all types.
    public var types: Set<EventType>?
    public var limit: Int?
    /// Data of more bytes are left out, `nil` leaves none out.
    public var largestData: Int?

    public init(
        after: Position = 0, upTo: Position? = nil, job: String? = nil, types: Set<EventType>? = nil, limit: Int? = nil,
        largestData: Int? = nil
    ) {
        self.after = after
        self.upTo = upTo
        self.job = job
        self.types = types
        self.limit = limit
        self.largestData = largestData
    }

    /// A job's events are found by its stream, in the order of versions, which is that of positions.
    public var statement: PostgresStatement {
        var parameters: [any PostgresEncodable] = []
        func parameter(_ value: any PostgresEncodable) -> String {
            parameters.append(value)
            return "$\(parameters.count)"
        }
        let data =
            largestData.map { "CASE WHEN octet_length(data::text) <= \(parameter(Int32($0))) THEN data END AS data" } ?? "data"
        var conditions = ["position > \(parameter(after))"]
        if let upTo { conditions.append("position <= \(parameter(upTo))") }
        if let job { conditions.append("category = 'job' AND stream_id = \(parameter(job))") }
        if let types { conditions.append("type = ANY (\(parameter(types.map(\.rawValue))))") }
        let sql = """
            SELECT position, event_id, stream_id, version, type, \(data), metadata, occurred_at, recorded_at, total
              FROM events
             WHERE \(conditions.joined(separator: " AND "))
             ORDER BY \(job == nil ? "position" : "version")
            """
        return PostgresStatement(sql + (limit.map { " LIMIT \(parameter($0))" } ?? ""), parameters)
    }
}

extension PostgresConnection {
    /// The events that `query` asks for, read as they are needed. The connection is busy until the last one.
    public nonisolated func events(_ query: EventQuery) -> AsyncThrowingMapSequence<PostgresRowStream, RecordedEvent> {
        stream(query.statement).map { try RecordedEvent($0) }
    }
}

extension EventStore {
    /// One page of events, whole.
    public func page(_ query: EventQuery) async throws -> [RecordedEvent] {
        try await pool.withConnection { try await $0.query(query.statement).map { try RecordedEvent($0) } }
    }
}

extension RecordedEvent {
    public init(_ row: PostgresRow) throws(PostgresError) {
        let type = try row.decode("type", as: String.self)
        guard let type = EventType(rawValue: type) else {
            throw PostgresError.unexpected(
                "position \(try row.decode("position", as: Position.self)) has the unknown type \(type)")
        }
        self.init(
            position: try row.decode("position"), id: try row.decode("event_id"), job: try row.decode("stream_id"),
            version: try row.decode("version"), type: type, data: try row.decode("data"), metadata: try row.decode("metadata"),
            occurredAt: try row.decode("occurred_at", as: PostgresTimestamp?.self).map(Timestamp.init),
            recordedAt: Timestamp(try row.decode("recorded_at", as: PostgresTimestamp.self)),
            total: try row.decode("total"))
    }
}
