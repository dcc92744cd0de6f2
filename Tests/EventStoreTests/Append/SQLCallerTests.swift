import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// `append_event`, as any Postgres client calls it.
@Suite struct SQLCallerTests {
    @Test func everyRefusalHasItsState() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let id = "0192f0c1-7b1e-7000-8000-000000000001"
            try await connection.query(
                #"SELECT * FROM append_event('open', 'queued', '{"name":"n"}', event_id => '\#(id)')"#)
            try await connection.query(#"SELECT * FROM append_event('done', 'queued', '{"name":"n"}')"#)
            try await connection.query("SELECT * FROM append_event('done', 'finished')")
            let refusals: [(String, String)] = [
                ("append_event('ghost', 'finished')", "JL001"),
                (#"append_event('open', 'queued', '{"name":"n"}')"#, "JL002"),
                ("append_event('done', 'failed', '{\"error\":\"e\"}')", "JL003"),
                ("append_event('open', 'finished', expected_version => 2)", "JL004"),
                (#"append_event('open', 'progress', '{"completed":1}', event_id => '\#(id)')"#, "JL005"),
                ("append_event('open', 'progress')", "JL006"),
                (
                    """
                    append_event('open', 'finished',
                        json_build_object('results', json_build_object('x', repeat('x', 9000000))))
                    """,
                    "JL007"
                ),
            ]
            for (call, state) in refusals {
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.query("SELECT * FROM \(call)")
                }
                #expect(error?.sqlState?.code == state, "\(call): \(String(describing: error))")
                #expect(try await ledger.count() == 3, "\(call) wrote something")
            }
            await connection.close()
        }
    }

    @Test func theEventCommitsWithTheCallersRowsOrNotAtAll() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            try await connection.execute(script: "CREATE TABLE orders (id integer)")
            let append = #"SELECT position FROM append_event('a', 'queued', '{"name":"n"}')"#
            try await connection.execute(script: "BEGIN; INSERT INTO orders VALUES (1); \(append); ROLLBACK")
            #expect(try await ledger.count() == 0)
            try await connection.execute(script: "BEGIN; INSERT INTO orders VALUES (1); \(append); COMMIT")
            #expect(try await ledger.count() == 1)
            #expect(try await ledger.store.head() == 1, "the aborted transaction left a gap")
            // A savepoint can catch a refusal, and the transaction continues.
            try await connection.execute(script: "BEGIN; SAVEPOINT s")
            await #expect(throws: PostgresError.self) { try await connection.query(append) }
            try await connection.execute(script: "ROLLBACK TO s; SELECT append_event('a', 'finished'); COMMIT")
            #expect(try await ledger.store.head() == 2)
            await connection.close()
        }
    }

    /// A caller that holds the log for too long is ended, and the others continue.
    @Test func callersThatHoldTheLogForTooLongAreEnded() async throws {
        try await TestLedger.with { ledger async throws in
            let dawdler = try await ledger.connect()
            try await dawdler.execute(script: "BEGIN")
            try await dawdler.query(#"SELECT * FROM append_event('slow', 'queued', '{"name":"n"}')"#)
            // A caller that waits for the log for 10 s gets an error.
            let appended = try await ledger.queue("quick")
            #expect(appended.position == 1)
            await #expect(throws: PostgresError.self) { try await dawdler.execute(script: "COMMIT") }
            #expect(try await ledger.count() == 1)

            // A caller that was refused, or that repeated an event, also holds the log, and has the
            // same limit.
            let refused = try await ledger.connect()
            try await refused.execute(script: "BEGIN")
            _ = try await refused.query("SELECT * FROM append(ARRAY['ghost'], ARRAY['finished'], ARRAY['{}'])")
            #expect(
                try await refused.query("SHOW idle_in_transaction_session_timeout").only().decode(0, as: String.self)
                    == "5s")
            try await refused.execute(script: "ROLLBACK")
            await refused.close()

            let other = try await ledger.connect()
            #expect(try await other.query("SHOW statement_timeout").only().decode(0, as: String.self) == "0")
            try await other.execute(script: "BEGIN")
            try await other.query(#"SELECT * FROM append_event('slow', 'queued', '{"name":"n"}')"#)
            let error = await #expect(throws: PostgresError.self) { try await other.query("SELECT pg_sleep(30)") }
            #expect(error?.sqlState == .queryCancelled)
            try await other.execute(script: "ROLLBACK")
            // The limit applied to the transaction only.
            #expect(try await other.query("SHOW statement_timeout").only().decode(0, as: String.self) == "0")
            await other.close()
        }
    }

    @Test func theLogRefusesChanges() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            let owner = try await ledger.connect()
            for change in [
                "UPDATE events SET type = 'failed'", "DELETE FROM events", "TRUNCATE events", "TRUNCATE ledger, events",
            ] {
                let error = await #expect(throws: PostgresError.self) { try await owner.query(change) }
                #expect(error?.sqlState?.code == "23001", "\(change): \(String(describing: error))")
            }
            // Not even the owner can bypass append by mistake, or the constraints on purpose.
            let row = "gen_random_uuid(), 'job', 'a', 2, 'queued', '{}', '{}', null, now(), 0"
            let past = await #expect(throws: PostgresError.self) {
                try await owner.query("INSERT INTO events VALUES (2, \(row))")
            }
            #expect(past?.sqlState?.code == "23001")
            try await owner.execute(script: "SET jobledger.appending = 'on'")
            let error = await #expect(throws: PostgresError.self) {
                try await owner.query("INSERT INTO events VALUES (2, \(row))")
            }
            #expect(error?.constraint == "events_job_type")
            #expect(try await ledger.count() == 1)
            await owner.close()
        }
    }

    @Test func anAppenderCanAppendAndNothingElse() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            let connection = try await ledger.connect()
            try await connection.execute(script: "SET ROLE \"\(ledger.name)_appender\"")
            #expect(
                try await connection.query("SELECT position FROM append_event('a', 'progress', '{\"completed\":1}')")
                    .only()
                    .decode(0, as: Position.self) == 2)
            #expect(
                try await connection.query("SELECT * FROM append(ARRAY['a'], ARRAY['finished'], ARRAY['{}'])").count
                    == 1)
            let forbidden = [
                "SELECT * FROM events", "SELECT * FROM history('a')", "SELECT * FROM ledger",
                "SELECT * FROM checkpoints",
                "SELECT head()",
                "INSERT INTO events (position) VALUES (3)", "UPDATE events SET type = 'x'", "DELETE FROM events",
                "TRUNCATE events",
                "SELECT take_lease('relay', 'me', '1 s')", "SELECT advance_checkpoint('relay', 0, 1)",
                "SELECT swap_tables('x', '{y}', 'z')",
                "CREATE TABLE mine (id integer)", "DROP TABLE events", "ALTER TABLE events DISABLE TRIGGER ALL",
                "SELECT lock_log()", "SELECT last_event()",
            ]
            for sql in forbidden {
                let error = await #expect(throws: PostgresError.self, "\(sql)") { try await connection.query(sql) }
                #expect(error?.sqlState == .insufficientPrivilege, "\(sql): \(String(describing: error))")
            }
            try await connection.execute(script: "SET ROLE \"\(ledger.name)_reader\"")
            #expect(try await connection.query("SELECT * FROM events").count == 3)
            #expect(try await connection.query("SELECT * FROM history('a')").count == 3)
            for sql in [
                "SELECT append_event('a', 'finished')", "INSERT INTO events (position) VALUES (3)",
                "DELETE FROM events",
            ] {
                let error = await #expect(throws: PostgresError.self, "\(sql)") { try await connection.query(sql) }
                #expect(error?.sqlState == .insufficientPrivilege, "\(sql): \(String(describing: error))")
            }
            await connection.close()
        }
    }
}
