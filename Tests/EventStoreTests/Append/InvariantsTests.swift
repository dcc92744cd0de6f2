import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// The constraints on every row of the log also bind an owner who claims that append() inserts the
/// row.
@Suite struct InvariantsTests {
    @Test(arguments: [
        ("(0, gen_random_uuid(), 'a', 1, 'queued', '{}', now(), 0, null)", "event_position_positive"),
        (
            "(4611686018427387904, gen_random_uuid(), 'a', 1, 'queued', '{}', now(), 0, null)",
            "event_position_countable"
        ),
        ("(2, gen_random_uuid(), 'a', 0, 'truncated', '{}', now(), 0, null)", "event_version_positive"),
        ("(2, gen_random_uuid(), '', 1, 'queued', '{}', now(), 0, null)", "stream_name_form"),
        ("(2, gen_random_uuid(), repeat('a', 256), 1, 'queued', '{}', now(), 0, null)", "stream_name_form"),
        ("(2, gen_random_uuid(), 'a', 2, 'Paused', '{}', now(), 0, null)", "event_type_form"),
        ("(2, gen_random_uuid(), 'a', 2, 'paused', '{}', now(), 0, null)", "events_job_type"),
        ("(2, gen_random_uuid(), 'a', 1, 'queued', '{}', now(), -1, null)", "run_count_not_negative"),
        ("(2, gen_random_uuid(), 'a', 2, 'progress', '{}', now(), 0, -1)", "run_count_not_negative"),
        ("(2, gen_random_uuid(), 'a', 2, 'queued', '{}', now(), 0, null)", "events_job_type"),
        ("(2, gen_random_uuid(), 'a', 1, 'finished', '{}', now(), 0, null)", "events_job_type"),
        ("(2, gen_random_uuid(), 'a', 2, 'progress', '{}', now(), 0, null)", "events_job_type"),
        ("(2, gen_random_uuid(), 'a', 2, 'finished', '{}', now(), 0, 3)", "events_job_type"),
        ("(1, gen_random_uuid(), 'a', 1, 'queued', '{}', now(), 0, null)", "events_pkey"),
        ("(2, gen_random_uuid(), 'there', 1, 'queued', '{}', now(), 0, null)", "events_stream_version_key"),
        ("(2, (SELECT event_id FROM events), 'a', 1, 'queued', '{}', now(), 0, null)", "events_event_id_key"),
    ])
    func anInvalidRowIsRefusedByItsConstraint(_ row: String, _ constraint: String) async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("there")
            let owner = try await ledger.connect()
            try await owner.execute(script: "SET jobledger.appending = 'on'")
            let insert = """
                INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at,
                    total, completed) VALUES \(row)
                """
            let error = try await #require(throws: PostgresError.self) { try await owner.query(insert) }
            #expect(error.description.contains("\"\(constraint)\""), "\(error)")
            #expect(try await ledger.count() == 1)
            await owner.close()
        }
    }

    /// Roles with few rights can write some of these numbers, and readers add to them. So every
    /// number must be small enough to add to.
    @Test func everyNumberOfTheLedgerCanBeAddedTo() async throws {
        try await TestLedger.with { ledger in
            let owner = try await ledger.connect()
            let columns = try await owner.query(
                """
                SELECT c.relname::text, a.attname::text, CASE WHEN t.typbasetype = 0 THEN t.oid
                    ELSE t.typbasetype END = 'bigint'::regtype,
                       coalesce((SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint AS k
                                  WHERE k.conrelid = c.oid AND a.attnum = ANY (k.conkey) OR k.contypid = t.oid), '')
                  FROM pg_class AS c
                  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                  JOIN pg_type AS t ON t.oid = a.atttypid
                 WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
                   AND c.relname <> 'schema_migrations'
                   AND CASE WHEN t.typbasetype = 0 THEN t.oid
                       ELSE t.typbasetype END IN ('bigint'::regtype, 'double precision'::regtype)
                """)
            #expect(columns.count > 25)
            for row in columns {
                let (table, column, rules) = (
                    try row.decode(0, as: String.self), try row.decode(1, as: String.self),
                    try row.decode(3, as: String.self)
                )
                let largest = Position.positions.upperBound
                // A rule says "at most the largest" or "less than the next one".
                let ends = try row.decode(2, as: Bool.self) ? ["\(largest)", "\(largest + 1)"] : ["'Infinity'"]
                #expect(
                    ends.contains { rules.contains($0) },
                    "\(table).\(column) has no end: CHECK (\(column) BETWEEN 0 AND \(largest))")
            }
            await owner.close()
        }
    }

    /// A timeout beyond all time becomes the longest, and a negative one none.
    @Test(arguments: ["-178000000 years", "178000000 years", "-1 us", "0"])
    func waitingIsBounded(_ interval: String) async throws {
        try await TestLedger.with { ledger in
            try await ledger.queue("there")
            let reader = try await ledger.connect()
            for after in ["-9223372036854775808", "0"] {
                let head: Position = try await reader.query(
                    "SELECT await_events(\(after), '\(interval)', '178000000 years')"
                )
                .only()
                .decode(0)
                #expect(head == 1)
            }
            if interval.hasPrefix("-") || interval == "0" {
                let head: Position = try await reader.query(
                    "SELECT await_events(9223372036854775807, '\(interval)', '\(interval)')"
                ).only()
                    .decode(0)
                #expect(head == 1)
            }
            await reader.close()
        }
    }
}
