import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// What roles try without the right to it: an auditor tries to change something, an appender to
/// read or to forge.
@Suite struct ForbiddenActionTests {
    private static func expectRefusal(of sql: String, as role: String, in ledger: TestLedger) async throws {
        let connection = try await ledger.connect()
        try await connection.execute(script: "SET ROLE \"\(ledger.name)_\(role)\"")
        let error = await #expect(throws: PostgresError.self, "\(role): \(sql)") { try await connection.query(sql) }
        #expect(error?.sqlState == .insufficientPrivilege, "\(role): \(sql): \(String(describing: error))")
        await connection.close()
    }

    @Test func tablesOfOthers() async throws {
        try await TestLedger.with { ledger in
            try await ledger.queue("a")
            let admin = try await ledger.connect()
            let tables = try await admin.query(Self.tables).map { try $0.decode(0, as: String.self) }
            #expect(tables.count > 15)
            for table in tables {
                let column: String? = try await admin.query(Self.someColumn, table).first?.decode(0)
                for sql in [
                    "DELETE FROM \(table)", "TRUNCATE \(table)", "INSERT INTO \(table) DEFAULT VALUES",
                    "ALTER TABLE \(table) ADD COLUMN more text", "DROP TABLE \(table)",
                ] { try await Self.expectRefusal(of: sql, as: "auditor", in: ledger) }
                for sql in [
                    "SELECT count(*) FROM \(table)", "INSERT INTO \(table) DEFAULT VALUES", "COPY \(table) TO STDOUT",
                ] { try await Self.expectRefusal(of: sql, as: "appender", in: ledger) }
                if let column {
                    try await Self.expectRefusal(
                        of: "UPDATE \(table) SET \(column) = null", as: "auditor", in: ledger)
                    try await Self.expectRefusal(of: "SELECT \(column) FROM \(table)", as: "appender", in: ledger)
                }
            }
            await admin.close()
        }
    }

    private static let tables = """
        SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
        """

    private static let someColumn = """
        SELECT attname::text FROM pg_attribute
         WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' LIMIT 1
        """

    @Test func functionsAndObjects() async throws {
        try await TestLedger.with { ledger in
            try await ledger.queue("a")
            for sql in [
                "CREATE TABLE mine ()", "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
                "SELECT hand_over()", "SELECT begin_epoch()", "SELECT append_event('b', 'queued', '{\"name\":\"x\"}')",
                "SELECT take_lease('relay', 'me', '1 s')", "SELECT hash FROM tokens", "SELECT stop_seal('no')",
                "SELECT advance_checkpoint('relay', 0, 1)", "SELECT import_events('{}')",
                "ALTER TABLE events DISABLE TRIGGER ALL",
                "SELECT note_refusals('{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}')",
                "SELECT skip_event('batch_jobs', 1, 'x', 'y')", "SELECT forget_subscription('x')",
            ] { try await Self.expectRefusal(of: sql, as: "auditor", in: ledger) }
            for sql in [
                "SELECT history('a')", "SELECT head()", "SELECT position_at(now())", "SELECT await_events(0, '1 s')",
                "SELECT import_events('{}')", "SELECT begin_import(gen_random_uuid(), 1)",
                "SELECT append_one('b', 'queued', '{}', '{}', null, null, null)",
                "SELECT write_events('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', null, '{}', '{}', '{}')",
                "SELECT begin_epoch()", "SELECT token_name('x')", "SELECT scopes_of_token('x', '')",
                """
                INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at)
                VALUES (2, gen_random_uuid(), 'b', 1, 'queued', '{}', '2020-01-01')
                """,
                "CREATE TABLE mine ()",
            ] { try await Self.expectRefusal(of: sql, as: "appender", in: ledger) }
        }
    }

    /// Temporary tables, settings and the search path of a session do not change what the ledger's
    /// functions do.
    @Test func theSessionOfAnAppenderChangesNothing() async throws {
        try await TestLedger.with { ledger in
            try await ledger.queue("a")
            let admin = try await ledger.connect()
            let appender = try await ledger.connect()
            try await appender.execute(
                script: """
                    SET ROLE "\(ledger.name)_appender";
                    CREATE TEMPORARY TABLE events (LIKE pg_class);
                    SET search_path = pg_temp, "\(ledger.name)";
                    SET jobledger.appending = 'on'; SET timezone = 'Pacific/Kiritimati'
                    """)
            let before = try await admin.query("SELECT clock_timestamp()").only().decode(0, as: PostgresTimestamp.self)
            try await appender.query(
                """
                SELECT append_event('b', 'queued', '{"name":"x"}', '{"recorded_at":"2020-01-01","position":99}',
                                    occurred_at => '2020-01-01')
                """)
            let row = try await admin.query("SELECT position, version, recorded_at FROM events WHERE stream_id = 'b'")
                .only()
            #expect(try row.decode(0, as: Position.self) == 2 && row.decode(1, as: Int32.self) == 1)
            #expect(try row.decode(2, as: PostgresTimestamp.self).microseconds >= before.microseconds)
            // An appender who knows the id of an event learns nothing of its content.
            let id: EventID = try await admin.query("SELECT event_id FROM events WHERE stream_id = 'a'").only()
                .decode(0)
            let error = await #expect(throws: PostgresError.self) {
                try await appender.query(
                    "SELECT append_event('a', 'queued', '{\"name\":\"guess\"}', event_id => $1)", id)
            }
            #expect(
                error?.description.contains("event_id_conflict") == true || error?.sqlState == SQLState("JL005"),
                "\(String(describing: error))")
            // Nor do the planner's statistics tell.
            #expect(try await appender.query("SELECT FROM pg_stats WHERE schemaname = $1", ledger.name.text).isEmpty)
            for connection in [appender, admin] { await connection.close() }
        }
    }

    @Test func leasesAndCheckpointsOfOthers() async throws {
        try await TestLedger.with { ledger in
            for (role, lease) in [
                ("relay", "sealer"), ("relay", "projection:x"), ("sealer", "relay"), ("projector", "relay"),
            ] {
                try await Self.expectRefusal(
                    of: "SELECT take_lease('\(lease)', 'thief', '1 h')", as: role, in: ledger)
            }
            let admin = try await ledger.connect()
            try await admin.execute(script: "INSERT INTO checkpoints (reader) VALUES ('other')")
            let relay = try await ledger.connect()
            try await relay.execute(script: "SET ROLE \"\(ledger.name)_relay\"")
            try await relay.query("UPDATE checkpoints SET position = 1 WHERE reader = 'other'")
            let position: Position = try await admin.query("SELECT position FROM checkpoints WHERE reader = 'other'")
                .only().decode(0)
            #expect(position == 0)
            for connection in [relay, admin] { await connection.close() }
        }
    }
}
