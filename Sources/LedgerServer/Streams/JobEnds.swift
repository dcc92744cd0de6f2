import EventStore
import LedgerCore
import Postgres

/// Where the log ends, and where jobs have ended: what there is to know before a stream begins.
struct JobEnds: Sendable {
    let head: Position
    /// Of the log that this was found in: the stream's subscription is to be of the same.
    let epoch: EventID
    /// Of the jobs that were asked for, those that have ended, with the position of their last
    /// event.
    let ends: [JobID: Position]

    static func load(_ jobs: Set<JobID>, in store: EventStore) async throws -> JobEnds {
        let statements = [
            PostgresStatement("SELECT head(), epoch FROM ledger", []),
            PostgresStatement(
                """
                SELECT job.id, event.position
                  FROM unnest($1) AS job (id)
                  JOIN LATERAL (
                    SELECT position, type FROM events WHERE category = 'job' AND stream_id = job.id ORDER BY version DESC LIMIT 1
                  ) AS event ON event.type IN ('finished', 'failed')
                """, [Array(jobs)]),
        ]
        let answers = try await store.pool.withConnection { try await $0.pipeline(statements) }
        var ends: [JobID: Position] = [:]
        for row in try answers[1].get() { ends[try row.decode(0)] = try row.decode(1) as Position }
        let log = try answers[0].get().only()
        return JobEnds(head: try log.decode(0), epoch: try log.decode(1), ends: ends)
    }
}
