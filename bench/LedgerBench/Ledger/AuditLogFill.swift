import AuditTrail
import LedgerCore
import Postgres
import Projections

/// A log for auditors' questions: 50 events per job, a thousand jobs at a time, 1,000 actors of
/// whom a few do most, common words and rare words. It is written in sets and bypasses `append`,
/// because only the questions are measured.
struct AuditLogFill {
    let events: Int

    static let eventsPerJob = 50
    static let actors = 1000
    var jobs: Int { events / Self.eventsPerJob }

    /// Writes the events after `start`, up to `end` or to the last.
    func fill(_ ledger: BenchLedger, after start: Int = 0, upTo end: Int? = nil) async throws {
        let end = end ?? events
        try await ledger.admin.execute(script: "ALTER TABLE events DISABLE TRIGGER ALL; SELECT setseed(0.5)")
        for first in stride(from: start, to: end, by: 500_000) {
            try await ledger.admin.execute(script: insert(first + 1, min(first + 500_000, end)))
        }
        try await ledger.admin.execute(script: "ALTER TABLE events ENABLE TRIGGER ALL")
        try await ledger.admin.execute(script: "VACUUM ANALYZE events")
    }

    /// An id that is derived from the position, so that events can name their causes.
    private static func id(_ position: String) -> String { "md5('event ' || \(position))::uuid" }

    private func insert(_ first: Int, _ last: Int) -> String {
        let atOnce = min(1000, jobs)
        let block = atOnce * Self.eventsPerJob
        return """
            INSERT INTO events (position, event_id, category, stream_id, version, type, data, metadata,
                occurred_at, recorded_at, total, completed)
            SELECT p, \(Self.id("p")), 'job', 'backtest-' || job, version, type,
                   CASE type
                     WHEN 'queued' THEN '{"name": "strategy S' || job % 5000 || ' on T' || job % 97 || '", "total": 50}'
                     WHEN 'progress' THEN '{"completed": ' || version || CASE
                         WHEN p % 5 = 0 THEN ', "message": "ticker T' || p % 97 || ' done"' ELSE '' END || '}'
                     WHEN 'failed' THEN '{"error": "' || CASE WHEN job % 10 = 0 THEN 'out of memory'
                         ELSE 'worker lost W' || job % 300 END || '"}'
                     WHEN 'truncated' THEN '{"reason": "too many runs"}'
                     ELSE '{}'
                   END::json,
                   ('{"actor": "actor-' || actor || '", "correlation_id": "request-' || job / 10 || '"'
                     || CASE WHEN p % 5 = 1
                         AND version > 1 THEN ', "causation_id": "' || \(Self.id("(p - \(atOnce))")) || '"'
                         ELSE '' END || '}')::json,
                   null, '2026-01-01'::timestamptz + p * interval '10 ms', 50, CASE
                       WHEN type = 'progress' THEN version END
              FROM (SELECT p, job, version, least(\(Self.actors - 1),
                  floor(\(Self.actors) * power(random(), 3)))::int AS actor,
                           CASE WHEN version = 1 THEN 'queued'
                                WHEN version = \(Self.eventsPerJob) THEN CASE WHEN job % 11 = 0 THEN 'failed'
                                    ELSE 'finished' END
                                WHEN version = 49 AND job % 100 = 7 THEN 'truncated'
                                ELSE 'progress' END AS type
                      FROM (SELECT p, (p - 1) / \(block) * \(atOnce) + (p - 1) % \(atOnce) AS job,
                                   ((p - 1) % \(block) / \(atOnce) + 1)::int AS version
                              FROM generate_series(\(first)::bigint, \(last)) AS p) AS placed) AS made
            """
    }
}
