import EventStore
import LedgerCore
import Postgres

/// Where the log ends, and which jobs have ended: what has to be known before a stream begins.
struct JobEnds: Sendable {
    let head: Position
    /// The log's epoch, which the stream's subscription must share.
    let epoch: EventID
    /// The requested jobs that have ended, with the position of their last event.
    let ends: [JobID: Position]

    private static let endsStatement = """
        SELECT job.id, event.position
          FROM unnest($1) AS job (id)
          JOIN LATERAL (
            SELECT position, type FROM events WHERE category = 'job' AND stream_id = job.id
             ORDER BY version DESC LIMIT 1
          ) AS event ON event.type = ANY ($2)
        """

    static func load(_ jobs: Set<JobID>, in store: EventStore) async throws -> JobEnds {
        let statements = [
            PostgresStatement(LogHead.sql),
            PostgresStatement(endsStatement, [Array(jobs), EventType.allCases.filter(\.isEnd).map(\.rawValue)]),
        ]
        let answers = try await store.pool.withConnection { try await $0.pipeline(statements) }
        var ends: [JobID: Position] = [:]
        for row in try answers[1].get() { ends[try row.decode(0)] = try row.decode(1) as Position }
        let log = try LogHead(try answers[0].get())
        return JobEnds(head: log.position, epoch: log.epoch, ends: ends)
    }
}
