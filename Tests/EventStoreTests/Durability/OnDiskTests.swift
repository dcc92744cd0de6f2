import EmbeddedServices
import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Events that were answered or read survive a crash, and no transaction can hold the log without a
/// session.
///
/// The test server writes its write-ahead log to disk only when a commit waits for it, so a commit
/// that did not wait is certainly lost in a crash.
@Suite struct DurabilityTests {
    private static func withServer(_ body: (PrivatePostgres, TestLedger) async throws -> Void) async throws {
        let server = try await PrivatePostgres.start(
            directory: TestServers.directory("durability"),
            settings: ["wal_writer_delay": "10000", "max_prepared_transactions": "5", "synchronous_commit": "off"])
        do {
            try await TestLedger.with(url: server.url) { try await body(server, $0) }
        } catch {
            try await server.stop()
            throw error
        }
        try await server.stop()
    }

    /// A session of a client without our settings.
    private static func plainClient(to ledger: TestLedger) async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            PostgresConfiguration(url: ledger.url, sessionSettings: [("search_path", "\"\(ledger.name)\"")]),
            timeout: .seconds(60))
    }

    @Test func answeredEventsSurviveACrash() async throws {
        try await Self.withServer { server, ledger in
            let ways = [
                #"SELECT position FROM append_event('job', 'queued', '{"name":"n"}')"#,
                #"SELECT position FROM append(ARRAY['job'], ARRAY['progress'], ARRAY['{"completed":1}'])"#,
                #"""
                SELECT position FROM append(ARRAY['job', 'job'], ARRAY['progress', 'progress'],
                    ARRAY['{"completed":1}', '{"completed":2}'])
                """#,
                #"""
                SELECT first_position FROM append_to_distinct_jobs(
                    ARRAY['b', 'c'], ARRAY['queued', 'queued'], ARRAY['{"name":"b"}', '{"name":"c"}'], null, null,
                    ARRAY[gen_random_uuid(), gen_random_uuid()], null, null)
                """#,
                #"""
                SELECT first_position
                  FROM append_batch(ARRAY['b', 'b'], ARRAY['progress', 'nonsense'],
                    ARRAY['{"completed":1}', '{}'])
                """#,
            ]
            for way in ways {
                let plainClient = try await Self.plainClient(to: ledger)
                #expect(
                    try await plainClient.query("SHOW synchronous_commit").only().decode(0, as: String.self) == "off")
                _ = try await plainClient.query(way)
                let events = try await plainClient.query("SELECT count(*) FROM events").only().decode(0, as: Int64.self)
                try await server.kill()
                try await server.restart()
                await plainClient.close()
                #expect(try await ledger.count() == events, "\(way)")
            }
            // Our own sessions, which also write tokens and records.
            let connection = try await ledger.connect()
            #expect(try await connection.query("SHOW synchronous_commit").only().decode(0, as: String.self) == "on")
            try await connection.query("SET synchronous_commit = 'off'")
            let epoch: EventID = try await connection.query("SELECT begin_epoch()").only().decode(0)
            try await server.kill()
            try await server.restart()
            #expect(try await ledger.store.epoch() == epoch)
            await connection.close()
        }
    }

    /// A session that lowers the setting after the append gets an error at commit, and nothing is
    /// kept.
    @Test(arguments: [
        #"SELECT append_event('late', 'queued', '{"name":"n"}'); SET LOCAL synchronous_commit = off"#,
        #"SELECT append_event('late', 'queued', '{"name":"n"}'); SET synchronous_commit = off"#,
        "SELECT begin_epoch(); SET LOCAL synchronous_commit = off",
        #"SET CONSTRAINTS ALL IMMEDIATE; SELECT append_event('late', 'queued', '{"name":"n"}')"#,
    ]) func loweringItAfterwardsIsRefused(_ script: String) async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            let error = await #expect(throws: PostgresError.self) {
                try await connection.execute(script: "BEGIN; \(script); COMMIT")
            }
            #expect(error?.sqlState == SQLState("55000") && error?.hint != nil, "\(String(describing: error))")
            await connection.close()
            #expect(try await ledger.count() == 0)
        }
    }

    @Test func whatAMultiStatementTransactionMayDo() async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            for script in [
                // Whether to wait for replicas is the administrator's choice.
                #"SET LOCAL synchronous_commit = local; SELECT append_event('a', 'queued', '{"name":"n"}')"#,
                #"SELECT append_event('a', 'progress', '{"completed":1}'); SET CONSTRAINTS ALL IMMEDIATE"#,
                #"""
                SAVEPOINT s;
                SELECT append_event('a', 'finished');
                ROLLBACK TO s;
                SET LOCAL synchronous_commit = off
                """#,
            ] { try await connection.execute(script: "BEGIN; \(script); COMMIT") }
            #expect(try await ledger.count() == 2)
            await connection.close()
        }
    }

    /// A prepared transaction would hold the log, or a row that other parts of the ledger wait for,
    /// after its session has ended.
    @Test func locksOfTheLedgerCannotBePrepared() async throws {
        try await Self.withServer { _, ledger in
            try await ledger.queue("a")
            for statement in [
                "SELECT append_event('a', 'progress', '{\"completed\":1}')",
                "SELECT * FROM append(ARRAY['ghost'], ARRAY['finished'], ARRAY['{}'])",
                """
                SELECT append_batch(ARRAY['a', 'a'], ARRAY['progress', 'progress'],
                    ARRAY['{"completed":1}', '{"completed":1}'])
                """,
                "SELECT begin_import((SELECT epoch FROM ledger), 1)", "SELECT begin_epoch()",
                "SELECT take_lease('relay', 'me', '1 s')", "UPDATE leases SET holder = 'me'",
                "INSERT INTO checkpoints (reader) VALUES ('x')", "UPDATE projections SET position = 0",
                "SELECT take_subscription('s', repeat('m', 32), '1 s', 0)", "SELECT stop_seal('no reason')",
            ] {
                let connection = try await ledger.connect()
                let error = await #expect(throws: PostgresError.self, "\(statement)") {
                    try await connection.execute(script: "BEGIN; \(statement); PREPARE TRANSACTION 'forgotten'")
                }
                #expect(error?.sqlState == SQLState("0A000"), "\(statement): \(String(describing: error))")
                await connection.close()
            }
            #expect(try await ledger.progress("a", 1).position == 2)
            // A session that listens to a channel keeps listening.
            let listener = try await ledger.connect()
            try await listener.execute(script: "LISTEN something")
            _ = try await listener.query("SELECT append_event('a', 'progress', '{\"completed\":1}')")
            let channels = try await listener.query("SELECT pg_listening_channels()").map {
                try $0.decode(0, as: String.self)
            }
            #expect(channels == ["something"])
            await listener.close()
        }
    }
}
