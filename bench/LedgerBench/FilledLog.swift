import LedgerCore
import Postgres

/// A long log that is made where it lies: jobs in groups, each group's events in turn, and then the next group. Past the append
/// function, which would take hours, but with all that it sees to: positions without a gap, versions, lives, times that do not go back.
struct FilledLog: Sendable {
    /// So many jobs are under way at a time.
    let jobsAtOnce: Int64
    let eventsPerJob: Int64

    /// Events in one transaction.
    private static let step: Int64 = 200_000

    /// The job of this number, from 0: ids are scattered, as those of users are.
    static let jobID = "'backtest-' || substr(md5(number::text), 1, 12)"

    /// Writes events number `written` + 1 to `events` of this log behind whatever is in the ledger.
    func fill(_ ledger: BenchLedger, from written: Int64 = 0, events: Int64, progress: (Int64) async -> Void = { _ in })
        async throws
    {
        let connection = ledger.admin
        try await connection.execute(script: "SET jobledger.appending = 'on'; SET synchronous_commit = 'off'")
        var first = written + 1
        while first <= events {
            try Task.checkCancellation()
            let last = min(events, first + Self.step - 1)
            try await connection.execute(script: insert(first, last))
            first = last + 1
            await progress(last)
        }
        try await connection.execute(script: "RESET synchronous_commit; RESET jobledger.appending")
        try await connection.execute(script: "VACUUM (ANALYZE) events")
        try await ledger.settle()
    }

    private func insert(_ first: Int64, _ last: Int64) -> String {
        let group = jobsAtOnce * eventsPerJob
        return """
            INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at, total)
            SELECT head.position + i - \(first) + 1,
                   -- the form of a version 7, in the order of time
                   (lpad(to_hex(1750000000000 + i), 12, '0') || '7' || substr(digest, 1, 3) || '8' || substr(digest, 4, 15))::uuid,
                   \(Self.jobID), version, type,
                   CASE type
                     WHEN 'queued' THEN '{"name": "SMA crossover", "total": \(eventsPerJob)}'
                     WHEN 'progress' THEN '{"completed": ' || version - 1 || ', "message": "' || repeat(digest, 6) || '"}'
                     WHEN 'finished' THEN '{"results": {"summary": {"best": 1.9}}}'
                     ELSE '{"error": "out of memory"}'
                   END::json,
                   head.recorded_at + i * interval '1 microsecond' - \(first) * interval '1 microsecond',
                   \(eventsPerJob)
              FROM (SELECT coalesce(max(position), 0) AS position,
                           coalesce((SELECT recorded_at FROM events ORDER BY position DESC LIMIT 1), '2025-01-01') AS recorded_at
                      FROM events) AS head,
                   generate_series(\(first)::bigint, \(last)::bigint) AS i,
                   LATERAL (SELECT md5(i::text) AS digest,
                                   (i - 1) / \(group) * \(jobsAtOnce) + (i - 1) % \(group) % \(jobsAtOnce) AS number,
                                   ((i - 1) % \(group) / \(jobsAtOnce) + 1)::integer AS version) AS place,
                   LATERAL (SELECT CASE version WHEN 1 THEN 'queued'
                                                WHEN \(eventsPerJob) THEN CASE number % 20 WHEN 0 THEN 'failed' ELSE 'finished' END
                                                ELSE 'progress' END AS type) AS kind
            """
    }

    /// How many jobs `events` events have begun.
    func jobs(in events: Int64) -> Int64 {
        let group = jobsAtOnce * eventsPerJob
        return events / group * jobsAtOnce + min(jobsAtOnce, events % group)
    }
}
