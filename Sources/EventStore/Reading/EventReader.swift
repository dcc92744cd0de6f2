package import LedgerCore
package import Postgres

/// Which events to read: always in the log's order.
package struct EventQuery: Sendable {
    package var after: Position
    package var upTo: Position?
    /// `nil` for all categories; but with a job or types, which are of jobs then, for that of jobs.
    package var category: Category?
    /// The job, or the stream of the category.
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
        after: Position = 0, upTo: Position? = nil, category: Category? = nil, job: JobID? = nil,
        types: Set<EventType>? = nil, limit: Int? = nil, largestData: Int? = nil
    ) {
        self.after = after
        self.upTo = upTo
        self.category = category
        self.job = job
        self.types = types
        self.limit = limit
        self.largestData = largestData
    }

    /// A job's events are found by its stream, in the order of versions, which is also the order of
    /// positions.
    package var statement: PostgresStatement {
        var parameters = PostgresParameters()
        let columns = RecordedEvent.columns(largestData: largestData.map { parameters.add(Int32($0)) })
        let conditions = conditions(&parameters).joined(separator: " AND ")
        let limit = limit.map { "LIMIT \(parameters.add($0))" } ?? ""
        return PostgresStatement(
            """
            SELECT \(columns)
              FROM events
             WHERE \(conditions)
             ORDER BY \(job == nil ? "position" : "version") \(limit)
            """, parameters.values)
    }

    private func conditions(_ parameters: inout PostgresParameters) -> [String] {
        var conditions = ["position > \(parameters.add(after))"]
        if let afterVersion { conditions.append("version > \(parameters.add(afterVersion))") }
        if let upToVersion { conditions.append("version <= \(parameters.add(upToVersion))") }
        if let upTo { conditions.append("position <= \(parameters.add(upTo))") }
        let category = category ?? (job == nil && types == nil ? nil : .job)
        if let job {
            conditions.append("category = \((category ?? .job).sql) AND stream_id = \(parameters.add(job))")
        } else if let category {
            conditions.append(category.filter)
        }
        if let types { conditions.append("type = ANY (\(parameters.add(types.map(\.rawValue))))") }
        return conditions
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
    /// The columns of `events` that make an event, in the order in which ``init(_:)`` and
    /// ``EncodedEvent`` read them.
    /// - Parameter largestData: SQL for a number of bytes. Longer data are left out; `nil` leaves
    ///   nothing out.
    package static func columns(largestData: String? = nil) -> String {
        let data =
            largestData.map { "CASE WHEN octet_length(data::text) <= \($0) THEN data END AS data" } ?? "data"
        return "position, event_id, category, stream_id, version, type, \(data), metadata, occurred_at, recorded_at, "
            + "total"
    }

    /// - Parameter row: a row that begins with ``columns(largestData:)``. They are read by index,
    ///   because looking up their names in every row costs more than reading them.
    package init(_ row: PostgresRow) throws(PostgresError) {
        let position: Position = try row.decode(0)
        self.init(
            position: position, id: try row.decode(1),
            category: try Category(try row.decode(2, as: String.self), at: position), job: try row.decode(3),
            version: try row.decode(4), type: try EventType(try row.decode(5, as: String.self), at: position),
            data: try row.decode(6), metadata: try row.decode(7),
            occurredAt: try row.decode(8, as: PostgresTimestamp?.self).map(Timestamp.init),
            recordedAt: Timestamp(try row.decode(9, as: PostgresTimestamp.self)), total: try row.decode(10))
    }
}
