internal import EventStore
internal import LedgerCore
internal import Postgres

/// What a stream reads from the log by itself.
struct CatchUp: Sendable {
    let store: EventStore

    /// The most events that are read, and held, at a time.
    private static let page = 200

    /// The next frames behind `position`, up to `last`; and how far that is, where there may be more.
    func frames(
        _ interest: StreamHub.Interest, after position: Position, upTo last: Position
    ) async throws -> (frames: [Frame], position: Position) {
        let statement = Self.statement(interest, after: position, upTo: last)
        let frames = try await store.pool.withConnection { connection in
            try await connection.query(statement).map { Frame(try RecordedEvent($0), of: store.ledger) }
        }
        // A page that is not full is the last.
        return (frames, frames.count < Self.page ? last : frames.last?.position ?? last)
    }

    private static func statement(
        _ interest: StreamHub.Interest, after position: Position, upTo last: Position
    ) -> PostgresStatement {
        let types = interest.types.map { interest.jobs == nil ? $0 : $0.union([.finished, .failed]) }
        if let job = interest.jobs?.first, interest.jobs?.count == 1 {
            return EventQuery(
                after: position, upTo: last, job: job, types: types, limit: page, largestData: Frame.largestData
            ).statement
        }
        guard let jobs = interest.jobs else {
            return EventQuery(after: position, upTo: last, types: types, limit: page, largestData: Frame.largestData).statement
        }
        return PostgresStatement(
            """
            SELECT position, event_id, stream_id, version, type,
                   CASE WHEN octet_length(data::text) <= $1 THEN data END AS data,
                   metadata, occurred_at, recorded_at, total
              FROM events
             WHERE position > $2 AND position <= $3 AND category = 'job' AND stream_id = ANY ($4) AND type = ANY ($5)
             ORDER BY position LIMIT $6
            """,
            [Int32(Frame.largestData), position, last, Array(jobs), (types ?? Set(EventType.allCases)).map(\.rawValue), page])
    }

    /// Of `jobs`, those that have ended, with the position of their end.
    func ends(of jobs: Set<String>) async throws -> [String: Position] {
        try await store.pool.withConnection { connection in
            let rows = try await connection.query(
                """
                SELECT job.id, event.position
                  FROM unnest($1) AS job (id)
                  JOIN LATERAL (
                    SELECT position, type FROM events WHERE category = 'job' AND stream_id = job.id ORDER BY version DESC LIMIT 1
                  ) AS event ON event.type IN ('finished', 'failed')
                """, Array(jobs))
            var ends: [String: Position] = [:]
            for row in rows { ends[try row.decode(0)] = try row.decode(1) as Position }
            return ends
        }
    }
}
