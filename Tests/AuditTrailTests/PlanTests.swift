import AuditTrail
import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Every query uses indexes: none reads a whole table, and none sorts many more rows than it
/// returns.
struct PlanTests {
    /// 2,000 jobs of 50 events, 200 actors of whom a few do most, frequent words and rare words;
    /// then 1,000 users of 10 events, with a type that jobs have too, and 20 of another category.
    private static let fill = """
        ALTER TABLE events DISABLE TRIGGER ALL;
        SELECT setseed(0.5);
        INSERT INTO events (position, event_id, category, stream_id, version, type, data, metadata,
                            recorded_at, total, completed)
        SELECT p, md5('event ' || p)::uuid, 'job', 'job-' || job, version, type,
               CASE type
                 WHEN 'queued'   THEN '{"name": "strategy S' || job || '"}'
                 WHEN 'progress' THEN '{"completed": ' || version || ', "message": "ticker T' || p % 97 || ' done"}'
                 WHEN 'failed'   THEN '{"error": "worker lost W' || job % 30 || '"}'
                 ELSE '{}'
               END::json,
               ('{"actor": "actor-' || floor(200 * power(random(), 3))
                 || '", "correlation_id": "request-' || job / 10
                 || '", "causation_id": "' || md5('event ' || p - 1)::uuid || '"}')::json,
               '2026-01-01'::timestamptz + p * interval '10 ms', 50,
               CASE WHEN type = 'progress' THEN version END
          FROM (SELECT p, (p - 1) % 2000 AS job, ((p - 1) / 2000 + 1)::int AS version,
                       CASE WHEN p <= 2000 THEN 'queued'
                            WHEN p <= 98000 THEN 'progress'
                            WHEN p % 11 = 0 THEN 'failed'
                            ELSE 'finished' END AS type
                  FROM generate_series(1, 100000) AS p) AS placed;
        INSERT INTO events (position, event_id, category, stream_id, version, type, data, metadata,
                            recorded_at, total, completed)
        SELECT p, md5('event ' || p)::uuid, CASE WHEN p % 500 = 0 THEN 'rare' ELSE 'user' END, 'job-' || p % 1000,
               (p - 100001) / 1000 + 1,
               CASE WHEN p <= 101000 THEN 'registered' WHEN p % 7 = 0 THEN 'progress' ELSE 'updated' END, '{}',
               ('{"actor": "actor-' || floor(200 * power(random(), 3)) || '"}')::json,
               '2026-02-01'::timestamptz + p * interval '10 ms', 0, null
          FROM generate_series(100001, 110000) AS p;
        ALTER TABLE events ENABLE TRIGGER ALL
        """

    private static func query(_ order: TrailQuery.Order = .newest, _ change: (inout TrailQuery) -> Void) -> TrailQuery {
        var query = TrailQuery(order: order)
        change(&query)
        return query
    }

    private static let (user, rare, updated) = (Category("user"), Category("rare"), EventType(rawValue: "updated"))

    private static let queries: [TrailQuery] = [
        query { _ in }, query(.oldest) { _ in }, query { $0.actor = "actor-0" }, query { $0.actor = "actor-190" },
        query { $0.actor = "nobody" },
        query { $0.type = .failed }, query { $0.type = .progress }, query { $0.type = .queued },
        query {
            $0.actor = "actor-3"
            $0.type = .failed
        },
        query {
            $0.actor = "actor-190"
            $0.type = .progress
        },
        query { $0.category = .job }, query { $0.category = user }, query(.oldest) { $0.category = user },
        query { $0.category = rare }, query { $0.category = Category("nothing") },
        query { ($0.category, $0.type) = (user, .progress) }, query { ($0.category, $0.type) = (user, updated) },
        query { ($0.category, $0.type) = (rare, updated) }, query { ($0.category, $0.actor) = (user, "actor-0") },
        query { ($0.category, $0.actor) = (user, "actor-190") }, query { ($0.category, $0.actor) = (.job, "actor-0") },
        query { ($0.category, $0.type, $0.actor) = (user, updated, "actor-190") },
        query { ($0.category, $0.job) = (user, "job-77") },
        query { $0.job = "job-77" },
        query {
            $0.job = "job-77"
            $0.text = "done"
        },
        query { $0.correlationID = "request-7" },
        query {
            $0.correlationID = "request-7"
            $0.actor = "actor-0"
        },
        query { $0.text = "done" }, query { $0.text = "strategy" }, query { $0.text = "S77" },
        query { $0.text = "nothing" },
        query {
            $0.text = "done"
            $0.actor = "actor-0"
        },
        query {
            $0.text = "S77"
            $0.actor = "actor-0"
        },
        query {
            $0.text = "lost"
            $0.type = .failed
        },
        query {
            $0.from = 1000
            $0.to = 5000
        },
        query {
            $0.to = 5000
            $0.actor = "actor-190"
        },
        query {
            $0.after = 300
            $0.actor = "actor-0"
        },
    ]

    @Test func indexes() async throws {
        try await TrailLedger.with { trail in
            let connection = try await trail.ledger.connect()
            try await connection.execute(script: Self.fill)
            try await trail.project()
            try await connection.execute(script: "ANALYZE events")
            try await connection.execute(script: "ANALYZE audit_log")
            for query in Self.queries {
                let statement = query.statement
                let plan = try await connection.query(
                    PostgresStatement("EXPLAIN " + statement.sql, statement.parameters)
                )
                .map { try $0.decode(0, as: String.self) }
                #expect(!plan.contains { $0.contains("Seq Scan") }, "\(query)\n\(plan.joined(separator: "\n"))")
                // A sort has the rows of a page, or the few rows that an index has found.
                for line in plan where line.contains("Sort  (") {
                    let rows = line.firstMatch(of: /rows=(\d+)/).flatMap { Int($0.1) } ?? .max
                    #expect(rows <= 5000, "\(query)\n\(plan.joined(separator: "\n"))")
                }
            }
            // The query with which `why` finds consequences.
            let plan = try await connection.query(
                """
                EXPLAIN SELECT * FROM audit_log WHERE causation_id = ANY ($1) AND causation_id IS NOT NULL
                 ORDER BY position LIMIT 1000
                """, ["x", "y"]
            ).map { try $0.decode(0, as: String.self) }
            #expect(plan.contains { $0.contains("audit_log_by_causation") }, "\(plan)")
            await connection.close()
        }
    }
}
