import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// What holds of every row of the log, also for an owner who says that it is append() who inserts.
@Suite struct InvariantsTests {
    @Test(arguments: [
        ("(0, gen_random_uuid(), 'a', 1, 'queued', '{}', now(), 0, null)", "event_position_positive"),
        ("(2, gen_random_uuid(), 'a', 0, 'truncated', '{}', now(), 0, null)", "event_version_positive"),
        ("(2, gen_random_uuid(), '', 1, 'queued', '{}', now(), 0, null)", "stream_name_length"),
        ("(2, gen_random_uuid(), repeat('a', 256), 1, 'queued', '{}', now(), 0, null)", "stream_name_length"),
        ("(2, gen_random_uuid(), 'a', 2, 'paused', '{}', now(), 0, null)", "event_type_known"),
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
    func aRowThatCannotBeIsRefusedByName(_ row: String, _ constraint: String) async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("there")
            let owner = try await ledger.connect()
            try await owner.execute(script: "SET jobledger.appending = 'on'")
            let insert =
                "INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at, total, completed) VALUES \(row)"
            let error = try await #require(throws: PostgresError.self) { try await owner.query(insert) }
            #expect(error.description.contains("\"\(constraint)\""), "\(error)")
            #expect(try await ledger.count() == 1)
            await owner.close()
        }
    }
}
