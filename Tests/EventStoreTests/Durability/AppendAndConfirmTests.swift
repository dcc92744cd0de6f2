import BlockingIO
import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// `append_and_confirm`, as any Postgres client calls it.
@Suite(.timeLimit(.minutes(10)), .serialized) struct AppendAndConfirmTests {
    private struct Answer {
        let (id, position, version, isDuplicate): (EventID, Position, Int32, Bool)

        init(_ row: PostgresRow) throws {
            (id, position) = (try row.decode("event_id"), try row.decode("position"))
            (version, isDuplicate) = (try row.decode("version"), try row.decode("duplicate"))
        }
    }

    private static func queued(_ job: String, _ more: String = "") -> String {
        "CALL append_and_confirm('\(job)', 'queued', '{\"name\":\"n\"}'\(more))"
    }

    private static func call(_ sql: String, _ connection: PostgresConnection) async throws -> Answer {
        try Answer(try await connection.query(PostgresStatement(sql)).only())
    }

    // MARK: In a ledger that demands quorum

    /// While one caller waits for the standbys, others have the log, and commit.
    @Test func theLogIsNotHeldForTheStandbys() async throws {
        try await ReplicatedLedger.demanding { replicated, ledger in
            try await replicated.loseStandby()
            let returned = Locked(0)
            let calls = (1...4).map { number in
                Task {
                    let connection = try await ledger.connect()
                    let answer = try await Self.call(Self.queued("w\(number)"), connection)
                    returned.withLock { $0 += 1 }
                    await connection.close()
                    return answer
                }
            }
            _ = try await eventually("all are committed") { try await ledger.store.head() == 4 ? true : nil }
            try await replicated.untilWaiting(4)
            #expect(returned.withLock { $0 } == 0)
            try await replicated.waitForStandbys("standby")
            var positions: [Position] = []
            for call in calls { positions.append(try await call.value.position) }
            #expect(positions.sorted() == [1, 2, 3, 4])
        }
    }

    @Test func aRetryWaitsLikeTheFirst() async throws {
        try await ReplicatedLedger.demanding { replicated, ledger in
            let connection = try await ledger.connect()
            let id = EventID.version7()
            let sql = Self.queued("a", ", event_id => '\(id)'")
            let first = try await Self.call(sql, connection)
            #expect((first.id, first.position, first.version, first.isDuplicate) == (id, 1, 1, false))
            try await replicated.loseStandby()
            let again = Task { try await Self.call(sql, connection) }
            try await replicated.untilWaiting(1)
            try await replicated.waitForStandbys("standby")
            let answer = try await again.value
            #expect((answer.id, answer.position, answer.version, answer.isDuplicate) == (id, 1, 1, true))
            await connection.close()
        }
    }

    /// The server commits and warns, and the driver reads the warning.
    @Test func aWaitThatIsCancelledIsNoSuccess() async throws {
        try await ReplicatedLedger.demanding { replicated, ledger in
            let connection = try await ledger.connect()
            let process = await connection.serverProcess
            try await replicated.loseStandby()
            let sql = Self.queued("a", ", event_id => '\(EventID.version7())'")
            let call = Task { try await Self.call(sql, connection) }
            try await replicated.untilWaiting(1)
            try await replicated.execute(script: "SELECT pg_cancel_backend(\(process))")
            let error = await #expect(throws: PostgresError.self) { try await call.value }
            #expect(error?.kind == .notReplicated, "\(error!)")
            try await replicated.waitForStandbys("standby")
            #expect(try await Self.call(sql, connection).isDuplicate)
            await connection.close()
        }
    }

    /// A session reads new settings between statements only, so the next one tells.
    @Test func theNextStatementTellsThatTheStandbysWereGivenUp() async throws {
        try await ReplicatedLedger.demanding { replicated, ledger in
            let connection = try await ledger.connect()
            try await connection.execute(script: "SET ROLE \"\(ledger.name)_appender\"")
            _ = try await Self.call(Self.queued("a"), connection)
            try await connection.query("SELECT require_standbys()")
            try await replicated.loseStandby()
            let call = Task { try await Self.call(Self.queued("b"), connection) }
            try await replicated.untilWaiting(1)
            try await replicated.waitForStandbys("")
            _ = try await call.value
            let error = await #expect(throws: PostgresError.self) {
                try await connection.query("SELECT require_standbys()")
            }
            #expect(error?.sqlState == .noStandbys, "\(error!)")
            // And nothing more is written.
            let refused = await #expect(throws: PostgresError.self) {
                try await Self.call(Self.queued("c"), connection)
            }
            #expect(refused?.sqlState == .noStandbys, "\(refused!)")
            #expect(try await ledger.store.head() == 2)
            await connection.close()
        }
    }

    // MARK: In any ledger

    /// Readers of a ledger that demands nothing do not ask for standbys, so they see nothing before
    /// the commit has waited.
    @Test func whereNothingIsDemandedTheCommitWaits() async throws {
        try await ReplicatedLedger.with { replicated in
            let connection = try await replicated.ledger.connect()
            try await replicated.loseStandby()
            let call = Task { try await Self.call(Self.queued("a"), connection) }
            try await replicated.untilWaiting(1)
            #expect(try await replicated.ledger.store.head() == 0)
            try await replicated.waitForStandbys("standby")
            #expect(try await call.value.position == 1)
            await connection.close()
        }
    }

    @Test func everyRefusalHasItsState() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let id = "0192f0c1-7b1e-7000-8000-000000000001"
            _ = try await Self.call(Self.queued("open", ", event_id => '\(id)'"), connection)
            _ = try await Self.call(Self.queued("done"), connection)
            _ = try await Self.call("CALL append_and_confirm('done', 'finished')", connection)
            for (arguments, state) in [
                ("'ghost', 'finished'", "JL001"), (#"'open', 'queued', '{"name":"n"}'"#, "JL002"),
                (#"'done', 'failed', '{"error":"e"}'"#, "JL003"),
                ("'open', 'finished', expected_version => 2", "JL004"),
                (#"'open', 'progress', '{"completed":1}', event_id => '\#(id)'"#, "JL005"),
                ("'open', 'progress'", "JL006"),
                (
                    "'open', 'finished', json_build_object('results', json_build_object('x', repeat('x', 9000000)))",
                    "JL007"
                ),
            ] {
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.query("CALL append_and_confirm(\(arguments))")
                }
                #expect(error?.sqlState?.code == state, "\(arguments): \(String(describing: error))")
                #expect(try await ledger.count() == 3, "\(arguments) wrote something")
            }
            await connection.close()
        }
    }

    /// It is a transaction of its own.
    @Test(arguments: ["BEGIN; %; COMMIT", "SELECT 1; %"])
    func itCannotBePartOfAnother(_ transaction: String) async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let script = transaction.replacing("%", with: Self.queued("a"))
            let error = await #expect(throws: PostgresError.self) { try await connection.execute(script: script) }
            #expect(error?.sqlState == SQLState("2D000"), "\(error!)")
            await connection.close()
            #expect(try await ledger.count() == 0)
        }
    }

    @Test func onlyAnAppenderMayCallIt() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            for role in ["reader", "subscriber", "relay", "projector", "sealer", "auditor"] {
                try await connection.execute(script: "SET ROLE \"\(ledger.name)_\(role)\"")
                let error = await #expect(throws: PostgresError.self, "\(role)") {
                    try await connection.query(Self.queued("a"))
                }
                #expect(error?.sqlState == .insufficientPrivilege, "\(role): \(error!)")
            }
            // Whatever the search path of the caller.
            try await connection.execute(script: "SET ROLE \"\(ledger.name)_appender\"; SET search_path = pg_catalog")
            let call = Self.queued("a").replacing("append_and", with: "\"\(ledger.name)\".append_and")
            #expect(try await Self.call(call, connection).position == 1)
            await connection.close()
        }
    }

    /// Its text names the schema, here by a word that SQL has reserved.
    @Test func aSchemaWhoseNameNeedsQuotes() async throws {
        let (url, name) = (try await TestServers.shared.postgresURL(), LedgerName("order")!)
        _ = try await Migrator(url: url, ledger: name, files: try MigrationFile.embedded()).up()
        let connection = try await PostgresConnection.connect(EventStore.configuration(url: url, ledger: name))
        #expect(try await Self.call(Self.queued("a"), connection).position == 1)
        #expect(try await connection.query("SELECT missing_rights()").isEmpty)
        try await connection.execute(script: "DROP SCHEMA \"order\" CASCADE")
        await connection.close()
    }
}
