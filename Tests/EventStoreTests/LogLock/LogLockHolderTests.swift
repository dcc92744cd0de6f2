import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Testing

/// The session that holds the log is named, and ended where that is configured and allowed.
@Suite struct LogLockHolderTests {
    /// A session of a user with one role, which has locked the log and has lifted all limits.
    private static func lockHolder(on ledger: TestLedger, as user: String) async throws -> PostgresConnection {
        let admin = try await ledger.connect()
        try await admin.execute(
            script: "CREATE ROLE \(user) LOGIN PASSWORD 'secret' IN ROLE \"\(ledger.name)_appender\"")
        await admin.close()
        var url = try #require(URLComponents(string: ledger.url))
        (url.user, url.password) = (user, "secret")
        let lockHolder = try await PostgresConnection.connect(
            EventStore.configuration(url: try #require(url.string), ledger: ledger.name, applicationName: "lockHolder"))
        try await lockHolder.execute(
            script: """
                BEGIN; SELECT append_event('\(user)', 'queued', '{"name":"n"}');
                SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0
                """)
        return lockHolder
    }

    private static func user() -> String { "sitter_\(UInt32.random(in: 0...UInt32.max))" }

    private static func holder(_ connection: PostgresConnection) async throws -> LogLockHolder? {
        try LogLockHolder(try await connection.query(LogLockHolder.statement))
    }

    @Test func aSessionIsNamedAndEnded() async throws {
        try await TestLedger.with { ledger in
            let admin = try await ledger.connect()
            #expect(try await Self.holder(admin) == nil)
            let user = Self.user()
            let lockHolder = try await Self.lockHolder(on: ledger, as: user)
            let holder = try #require(try await Self.holder(admin))
            #expect(
                holder.process == (await lockHolder.serverProcess) && holder.user == user
                    && holder.application == "lockHolder")
            #expect(holder.preparedAs == nil && holder.waiting == 0 && holder.longestWait == nil)
            // Others wait for it.
            let waiting = Task { try await ledger.queue("other") }
            _ = try await eventually("one waits") {
                try await Self.holder(admin).flatMap { $0.waiting == 1 && $0.longestWait != nil ? true : nil }
            }

            // The relay's role may ask to end it, but the ledger's owner may not end sessions.
            let relay = try await ledger.connect()
            try await relay.execute(script: "SET ROLE \"\(ledger.name)_relay\"")
            let end = PostgresStatement("SELECT end_log_holder($1)", [holder.transaction])
            let refused = await #expect(throws: PostgresError.self) { try await relay.query(end) }
            #expect(refused?.sqlState == .insufficientPrivilege)
            #expect(
                refused?.hint?.contains("GRANT pg_read_all_stats, pg_signal_backend TO \(ledger.name)_owner") == true)

            try await admin.execute(script: "GRANT pg_read_all_stats, pg_signal_backend TO \"\(ledger.name)_owner\"")
            var watch = LogLockWatch(
                endingAfter: .seconds(5), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            _ = try await eventually("the watch has ended it") {
                try await watch.look(on: relay)
                return try await Self.holder(relay)?.transaction == holder.transaction ? nil : true
            }
            // Callers that waited for 10 s have given up with nothing written; those that waited
            // less have appended.
            _ = await waiting.result
            await #expect(throws: PostgresError.self) { try await lockHolder.execute(script: "COMMIT") }
            #expect(try await ledger.queue("next").version == 1)
            #expect(try await ledger.store.page(EventQuery(job: user)).isEmpty)
            try await admin.execute(script: "DROP ROLE \(user)")
            for connection in [admin, relay, lockHolder] { await connection.close() }
        }
    }

    /// A session that holds the log for a moment is not ended.
    @Test func aShortHoldIsNotEnded() async throws {
        try await TestLedger.with { ledger in
            let relay = try await ledger.connect()
            try await relay.execute(script: "GRANT pg_read_all_stats, pg_signal_backend TO \"\(ledger.name)_owner\"")
            var job = 0
            var wasShort = false
            while !wasShort {
                job += 1
                let began = ContinuousClock.now
                do {
                    let ended = try await Self.endShortHold(of: "job-\(job)", in: ledger, relay)
                    wasShort = ContinuousClock.now - began < .seconds(5)
                    #expect(ended == [false, false] || !wasShort)
                } catch  where ContinuousClock.now - began >= .seconds(5) {
                    // A busy machine took longer than a moment: the hold could be ended rightly.
                }
            }
            #expect(try await ledger.store.page(EventQuery(job: JobID("job-\(job)"))).count == 1)
            await relay.close()
        }
    }

    /// Tries to end the transaction that appends to `job`, before and after its commit.
    private static func endShortHold(
        of job: String, in ledger: TestLedger, _ relay: PostgresConnection
    ) async throws -> [Bool] {
        let quick = try await ledger.connect()
        try await quick.execute(script: "BEGIN; SELECT append_event('\(job)', 'queued', '{\"name\":\"n\"}')")
        let holder = try #require(try await Self.holder(relay))
        let end = PostgresStatement("SELECT end_log_holder($1)", [holder.transaction])
        let during: Bool = try await relay.query(end).only().decode(0)
        try await quick.execute(script: "COMMIT")
        let after: Bool = try await relay.query(end).only().decode(0)
        await quick.close()
        return [during, after]
    }

    /// Only an owner can do this, by locking the table directly.
    @Test func aPreparedTransactionIsNamed() async throws {
        let server = try await PrivatePostgres.start(
            directory: TestServers.directory("prepared"), settings: ["max_prepared_transactions": "5", "fsync": "off"])
        try await TestLedger.with(url: server.url) { ledger in
            let connection = try await ledger.connect()
            // It has no session, and survives a restart.
            try await connection.execute(
                script: """
                    BEGIN;
                    LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
                    CREATE TABLE something ();
                    PREPARE TRANSACTION 'forgotten'
                    """)
            for restarts in [false, true] {
                if restarts {
                    try await server.kill()
                    try await server.restart()
                }
                let other = try await ledger.connect()
                let holder = try #require(try await Self.holder(other))
                #expect(holder.process == nil && holder.preparedAs == "forgotten" && holder.age != nil)
                #expect(holder.name.contains("the prepared transaction forgotten of"))
                await other.close()
            }
            await connection.close()
            let last = try await ledger.connect()
            let holder = try #require(try await Self.holder(last))
            _ = try await eventually("it is old enough") { () -> Bool? in
                do {
                    _ = try await last.query("SELECT end_log_holder($1)", holder.transaction)
                    return nil
                } catch let error as PostgresError where error.sqlState == SQLState("55006") {
                    return error.hint == "ROLLBACK PREPARED 'forgotten'" ? true : nil
                }
            }
            try await last.execute(script: "ROLLBACK PREPARED 'forgotten'")
            #expect(try await Self.holder(last) == nil)
            await last.close()
        }
        try await server.stop()
    }
}
