import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// The time that one caller makes others wait is bounded.
@Suite struct BoundedWaitsTests {
    /// A session of a new user with one role.
    private static func session(_ ledger: TestLedger, _ role: String, _ name: String) async throws -> PostgresConnection
    {
        let connection = try await ledger.connect(as: name)
        try await connection.execute(
            script: """
                CREATE ROLE "\(ledger.name)_\(name)" IN ROLE "\(ledger.name)_\(role)";
                SET SESSION AUTHORIZATION "\(ledger.name)_\(name)"
                """)
        return connection
    }

    /// Small events that repeat the id of a large event are each compared with all of its content,
    /// while the log is held.
    @Test func comparingRepeatsOfALargeEventIsBounded() async throws {
        try await TestLedger.with { ledger in
            let large = NewEvent(
                type: "queued",
                data: #"{"name":"n","strategy":{"text":"\#(String(repeating: "x", count: 8_000_000))"}}"#)
            _ = try await ledger.store.append([AppendRequest(job: "a", events: [large])])
            let connection = try await ledger.connect()
            func answers(_ count: Int32) async throws -> [String] {
                try await connection.query(
                    """
                    SELECT coalesce(code, 'none')
                      FROM append(array_fill('a'::text, ARRAY[$1]), array_fill('progress'::text, ARRAY[$1]),
                      array_fill('{"completed":1}'::text, ARRAY[$1]), event_ids => array_fill($2::uuid, ARRAY[$1]))
                    """, count, large.id
                ).map { try $0.decode(0) }
            }
            #expect(try await answers(8) == Array(repeating: "event_id_conflict", count: 8))
            let error = await #expect(throws: PostgresError.self) { _ = try await answers(9) }
            #expect(
                error?.sqlState == SQLState("54000") && error?.hint?.contains("Nothing was written") == true,
                "\(String(describing: error))")
            #expect(try await ledger.count() == 1)
            // Callers that share a commit get the same answers as if they were alone.
            try await ledger.store.withGroupCommit(.patient) { commits in
                let holder = try await ledger.holdLog()
                var tasks = [try await commits.beginInFlight(.queue("first"))]
                for number in 0..<12 {
                    let again = NewEvent(type: "progress", data: #"{"completed":\#(number)}"#, id: large.id)
                    tasks.append(try await commits.begin(AppendRequest(job: "a", events: [again])))
                }
                tasks.append(try await commits.begin(.queue("last")))
                try await ledger.release(holder)
                for task in tasks[1...12] {
                    let refusal = await #expect(throws: Refusal.self) { try await task.value }
                    #expect(refusal?.code == .eventIDConflict, "\(String(describing: refusal))")
                }
                _ = try await (tasks[0].value, tasks[13].value)
            }
            #expect(try await ledger.count() == 3)
            // A retry may have a different spelling.
            let spaced = NewEvent(
                type: "queued", data: large.data.replacing(#"{"name":"n","#, with: #"{ "name" : "n", "#), id: large.id)
            #expect(try await ledger.store.append(spaced, to: "a").isDuplicate)
            await connection.close()
        }
    }

    /// A caller that holds a turn only keeps callers of the same turn waiting.
    @Test func aCallerThatWaitsForATurnDoesNotHoldTheLog() async throws {
        try await TestLedger.with { ledger in
            let (eve, victim) = (
                try await Self.session(ledger, "appender", "eve"), try await Self.session(ledger, "appender", "victim")
            )
            let owner = try await ledger.connect()
            try await ledger.extendLockTimeouts(on: owner)
            try await eve.execute(script: "BEGIN; SELECT append_batch('{}', '{}', '{}', appender => 'x', turn => 1)")
            let process = await victim.serverProcess
            let waiting = Task {
                try await victim.query(
                    "SELECT append_batch('{v}', '{queued}', ARRAY['{\"name\":\"n\"}'], appender => 'x', turn => 1)")
            }
            _ = try await eventually("the victim waits for the row") {
                try await ledger.store.pool.withConnection {
                    try await $0.query("SELECT FROM pg_locks WHERE pid = $1 AND NOT granted", process).isEmpty
                        ? nil : true
                }
            }
            #expect(try await ledger.queue("a").position == 1)
            try await eve.execute(script: "COMMIT")
            _ = try await waiting.value
            #expect(try await ledger.count() == 2)
            for connection in [eve, victim, owner] { await connection.close() }
        }
    }

    @Test func countingRefusalsBlocksOthersForABoundedTime() async throws {
        try await TestLedger.with { ledger in
            let (eve, service, admin) = (
                try await Self.session(ledger, "appender", "eve"),
                try await Self.session(ledger, "appender", "service"),
                try await ledger.connect()
            )
            func note(_ times: Int64) -> PostgresStatement {
                PostgresStatement(
                    """
                    SELECT note_refusals('{0}', '{0}', ARRAY[$1::bigint], '{}', '{10.0.0.1}', '{GET}',
                        '{/}', '{}', '{}', '{}', '{}', '{unauthorized}', '{x}')
                    """,
                    [times])
            }
            try await admin.execute(script: "UPDATE refusal_limits SET rows_of_address = 1")
            for _ in 0..<3 { try await service.query(note(5)) }
            let left = PostgresStatement("SELECT sum(left_out)::bigint FROM refusal_days WHERE source <> ''")
            #expect(try await admin.query(left).only().decode(0, as: Int64.self) == 10)
            for times in [-10, Int64.min] { _ = try? await service.query(note(times)) }
            #expect(try await admin.query(left).only().decode(0, as: Int64.self) == 10)
            // A session that holds the day's refusal counts for too long is ended. A session that
            // lifts that limit for itself keeps others waiting for a bounded time, and they get an
            // error.
            try await eve.execute(script: "BEGIN")
            try await eve.query(note(1))
            try await service.query(note(1))
            #expect(await eve.isUsable() == false)
            let stubborn = try await ledger.connect()
            try await stubborn.execute(script: "BEGIN")
            try await stubborn.query(note(1))
            try await stubborn.execute(script: "SET idle_in_transaction_session_timeout = 0")
            let error = await #expect(throws: PostgresError.self) { try await service.query(note(1)) }
            #expect(
                error?.isRetriable == true && error?.message.contains("refusals of today") == true,
                "\(String(describing: error))"
            )
            for connection in [eve, service, admin, stubborn] { await connection.close() }
        }
    }

    /// Roles whose names only start like the ledger's are not its roles.
    @Test func rolesOfOthersAreNotRemembered() async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            let (other, user) = ("\(ledger.name)_two_appender", "\(ledger.name)_api")
            try await connection.execute(
                script: """
                    CREATE ROLE "\(other)";
                    CREATE ROLE "\(user)" IN ROLE "\(ledger.name)_appender", "\(ledger.name)_reader";
                    GRANT "\(other)" TO "\(user)"; GRANT SELECT ON events TO "\(user)"; SELECT remember_rights('x');
                    REVOKE SELECT ON events FROM "\(user)"; DROP ROLE "\(user)"; DROP ROLE "\(other)"
                    """)
            try await RightsMissing.check(on: connection)
            #expect(
                try await connection.query(
                    "SELECT FROM rights WHERE role LIKE '%_api' OR role LIKE '%_two_%' OR object LIKE '%_two_%'"
                )
                .isEmpty)
            await connection.close()
        }
    }
}
