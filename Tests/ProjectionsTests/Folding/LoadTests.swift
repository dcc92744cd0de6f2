import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// A projection that runs first on a long log loads its tables and then indexes them.
@Suite(.serialized) struct LoadTests {
    private static let events: Position = 100_000

    /// Inserts 1,000 jobs of 100 events each without the append function.
    private static func fill(_ ledger: TestLedger) async throws {
        let connection = try await ledger.connect()
        try await connection.execute(
            script: """
                ALTER TABLE events DISABLE TRIGGER ALL;
                INSERT INTO events (position, event_id, category, stream_id, version, type, data, metadata, recorded_at,
                                    total, completed)
                SELECT p, md5('event ' || p)::uuid, 'job', 'job-' || p % 1000, (p - 1) / 1000 + 1,
                       CASE WHEN p <= 1000 THEN 'queued' ELSE 'progress' END,
                       CASE WHEN p <= 1000 THEN '{"name": "n"}'
                            ELSE '{"completed": 1, "message": "m' || p || '"}' END::json,
                       ('{"actor": "actor-' || p % 7 || '"}')::json, '2026-01-01'::timestamptz + p * interval '1 ms', 0,
                       CASE WHEN p > 1000 THEN 1 END
                  FROM generate_series(1, \(events)) AS p;
                ALTER TABLE events ENABLE TRIGGER ALL
                """)
        await connection.close()
    }

    private static func rebuilds(of name: String, _ ledger: TestLedger) async throws -> Int64 {
        try await ledger.store.pool.withConnection {
            try await $0.query("SELECT count(*) FROM receipts WHERE kind = 'rebuild' AND projection = $1", name).only()
                .decode(0)
        }
    }

    @Test func aLongLogIsLoadedAndThenFoldedLive() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger)
            let definition = try ProjectionDefinition.builtIn("audit_log")
            // Of two projectors that find no tables, one loads them.
            try await ledger.projecting([definition, definition], window: 30_000) {
                try await ledger.caughtUp("audit_log")
                try await ledger.queue("afterwards")
                try await ledger.caughtUp("audit_log")
            }
            #expect(try await Self.rebuilds(of: "audit_log", ledger) == 1)
            #expect(try await ledger.schemasBeside().isEmpty)
            let indexes: Int64 = try await ledger.store.pool.withConnection {
                try await $0.query(
                    "SELECT count(*) FROM pg_index WHERE indrelid = 'audit_log'::regclass AND indisvalid"
                ).only().decode(0)
            }
            #expect(indexes == 9)
            let finding = try await ledger.verify(definition)
            #expect(finding.isEqual && finding.position == Self.events + 1, "\(finding)")
        }
    }

    /// If an event cannot be folded, the live projection folds everything before it and stops.
    @Test func anEventThatCannotBeFoldedStopsIt() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger)
            let poison: Position = 1_500
            let definition = try ProjectionDefinition.countingEvents(
                and: "SELECT 1 / (data ->> 'message' IS DISTINCT FROM 'm\(poison)')::integer FROM new_events")
            try await ledger.projecting([definition], window: 100_000) {
                let state = try await eventually(within: .seconds(60), "stopped") {
                    if let state = try await ledger.state("counts"), state.stopped != nil { state } else { nil }
                }
                #expect(state.stopped?.position == poison)
                #expect(state.position == poison - 1, "everything before it is folded")
            }
            #expect(try await ledger.schemasBeside().isEmpty, "nothing is left of the rebuild")
        }
    }

    /// A short log is folded live, and so is a projection whose key is the log.
    @Test func othersAreFoldedLive() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            try await ledger.projecting([try ProjectionDefinition.builtIn("audit_log")]) {
                try await ledger.caughtUp("audit_log")
            }
            #expect(try await Self.rebuilds(of: "audit_log", ledger) == 0)
        }
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger)
            try await ledger.projecting([try ProjectionDefinition.builtIn("daily_job_stats")], window: 100_000) {
                try await ledger.caughtUp("daily_job_stats")
            }
            #expect(try await Self.rebuilds(of: "daily_job_stats", ledger) == 0)
        }
    }
}
