package import LedgerCore
package import Postgres

/// Which events to read: always in the log's order.
package struct EventQuery: Sendable {
    package var after: Position
    package var upTo: Position?
    package var job: JobID?
    /// The job's events with a version after the one and up to the other. Ignored without a job.
    package var afterVersion: Int32?
    package var upToVersion: Int32?
    /// `nil` for all types.
    package var types: Set<EventType>?
    package var limit: Int?
    /// Data longer than this, in bytes, is left out; `nil` leaves nothing out.
    package var largestData: Int?

    package init(
        after: Position = 0, upTo: Position? = nil, job: JobID? = nil, types: Set<EventType>? = nil, limit: Int? = nil,
        largestData: Int? = nil
    ) {
        self.after = after
        self.upTo = upTo
        self.job = job
        self.types = types
        self.limit = limit
        self.largestData = largestData
    }

    /// A job's events are found by its stream, in the order of versions, which is also the order of
    /// positions.
    package var statement: PostgresStatement {
        var parameters: [any PostgresEncodable] = []
        func parameter(_ value: any PostgresEncodable) -> String {
            parameters.append(value)
            return "$\(parameters.count)"
        }
        let data =
            largestData.map { "CASE WHEN octet_length(data::text) <= \(parameter(Int32($0))) THEN data END AS data" }
            ?? "data"
        var conditions = ["position > \(parameter(after))"]
        if let afterVersion { conditions.append("version > \(parameter(afterVersion))") }
        if let upToVersion { conditions.append("version <= \(parameter(upToVersion))") }
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
    /// The events that `query` selects, read as they are consumed. The connection is busy until the
    /// last one.
    package nonisolated func events(_ query: EventQuery) -> AsyncThrowingMapSequence<PostgresRowStream, RecordedEvent> {
        stream(query.statement).map { try RecordedEvent($0) }
    }
}

extension EventStore {
    /// One page of events, whole.
    package func page(_ query: EventQuery) async throws -> [RecordedEvent] {
        try await pool.withConnection { try await $0.query(query.statement).map { try RecordedEvent($0) } }
    }
}

extension RecordedEvent {
    /// - Parameter row: a row of ``EventQuery/statement``. The columns are read by index, because
    ///   looking up their names in every row costs more than reading them.
    package init(_ row: PostgresRow) throws(PostgresError) {
        let position: Position = try row.decode(0)
        self.init(
            position: position, id: try row.decode(1), job: try row.decode(2), version: try row.decode(3),
            type: try EventType(try row.decode(4, as: String.self), at: position), data: try row.decode(5),
            metadata: try row.decode(6), occurredAt: try row.decode(7, as: PostgresTimestamp?.self).map(Timestamp.init),
            recordedAt: Timestamp(try row.decode(8, as: PostgresTimestamp.self)), total: try row.decode(9))
    }
}
