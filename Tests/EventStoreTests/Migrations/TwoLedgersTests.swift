import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Several ledgers in one database do not see each other.
@Suite struct TwoLedgersTests {
    private static func withTwo(_ body: (TestLedger, TestLedger) async throws -> Void) async throws {
        try await TestLedger.with { one async throws in
            try await TestLedger.with { other async throws in try await body(one, other) }
        }
    }

    @Test func haveTheirOwnPositionsJobsAndEpochs() async throws {
        try await Self.withTwo { one, other in
            try await one.queue("a")
            try await one.progress("a", 1)
            let first = try await other.queue("a")
            #expect(first.position == 1 && first.version == 1)
            #expect(try await one.store.head() == 2)
            #expect(try await other.store.head() == 1)
            #expect(try await one.store.epoch() != other.store.epoch())
        }
    }

    /// A duplicate or a conflict in one ledger is new in the other; a job that has ended in one
    /// continues in the other.
    @Test func theSameJobAndEventIDAreTwo() async throws {
        try await Self.withTwo { one, other in
            let id = EventID.version7()
            let queued = NewEvent(type: "queued", data: #"{"name":"one"}"#, id: id)
            #expect(try await one.store.append(queued, to: "a").isDuplicate == false)
            #expect(try await one.store.append(queued, to: "a").isDuplicate)
            _ = try await one.store.append(NewEvent(type: "finished"), to: "a")

            let elsewhere = try await other.store.append(
                NewEvent(type: "queued", data: #"{"name":"other"}"#, id: id), to: "a")
            #expect(elsewhere.position == 1 && elsewhere.eventID == id && !elsewhere.isDuplicate)
            try await other.progress("a", 1)
            #expect(try await one.store.page(EventQuery(job: "a")).map(\.type) == [.queued, .finished])
            #expect(try await other.store.page(EventQuery(job: "a")).map(\.type) == [.queued, .progress])
            #expect(try await one.store.page(EventQuery(job: "a", limit: 1)).first?.data == #"{"name":"one"}"#)
        }
    }

    /// The lock on one log blocks nobody in the other.
    @Test func doNotWaitForEachOther() async throws {
        try await Self.withTwo { one, other in
            let connection = try await one.connect()
            // Takes the lock without an append. An append would be ended after some seconds, and
            // then nobody would have to wait.
            try await connection.execute(script: "BEGIN; LOCK TABLE serialiser")
            try await other.queue("a")
            try await connection.execute(script: "ROLLBACK")
            await connection.close()
        }
    }

    /// Leases and checkpoints of the same name are separate in each ledger.
    @Test func haveTheirOwnLeasesAndCheckpoints() async throws {
        try await Self.withTwo { one, other in
            let (connection, elsewhere) = (try await one.connect(), try await other.connect())
            #expect(try await Lease("relay", holder: "first").take(on: connection))
            #expect(try await Lease("relay", holder: "second").take(on: connection) == false)
            #expect(try await Lease("relay", holder: "second").take(on: elsewhere))

            for count in 0..<7 { try await one.queue(count) }
            let checkpoint = Checkpoint("reader")
            #expect(try await checkpoint.load(on: connection) == 0)
            #expect(try await checkpoint.load(on: elsewhere) == 0)
            #expect(try await checkpoint.advance(from: 0, to: 7, on: connection))
            #expect(try await checkpoint.load(on: elsewhere) == 0)
            await connection.close()
            await elsewhere.close()
        }
    }

    /// A user who may append to one ledger or read it may do neither in the other.
    @Test func haveTheirOwnRoles() async throws {
        try await Self.withTwo { one, other in
            try await other.queue("secret")
            for (role, allowed) in [
                ("appender", "SELECT append_event('a', 'queued', '{\"name\":\"n\"}')"), ("reader", "SELECT head()"),
            ] {
                let user = try await one.connect()
                try await user.execute(script: "SET ROLE \"\(one.name)_\(role)\"; \(allowed)")
                let there = "\"\(other.name)\""
                for statement in [
                    "SELECT \(there).append_event('a', 'queued', '{\"name\":\"n\"}')", "SELECT \(there).head()",
                    "SELECT * FROM \(there).events", "SELECT * FROM \(there).history('secret')",
                    "TABLE \(there).checkpoints",
                    "SELECT \(there).take_lease('relay', 'me', '1 day')", "SELECT \(there).begin_epoch()",
                ] {
                    let error = await #expect(throws: PostgresError.self) {
                        try await user.query(PostgresStatement(statement, []))
                    }
                    #expect(error?.sqlState == .insufficientPrivilege, "\(role): \(statement)")
                }
                await user.close()
            }
            #expect(try await other.count() == 1)
        }
    }

    /// The settings that append() and the projections use to tell triggers and views what they do
    /// have the same names in all ledgers, and last for one statement or transaction. A transaction
    /// that appends to both ledgers leaves neither open to an insert that bypasses append().
    @Test func appendToBothInOneTransaction() async throws {
        try await Self.withTwo { one, other in
            let connection = try await one.connect()
            let append = #"append_event('a', 'queued', '{"name":"n"}')"#
            try await connection.execute(script: "BEGIN; SELECT \(append); SELECT \"\(other.name)\".\(append)")
            for ledger in [one, other] {
                try await connection.execute(script: "SAVEPOINT before")
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.execute(
                        script: "INSERT INTO \"\(ledger.name)\".events SELECT * FROM \"\(ledger.name)\".events")
                }
                #expect(
                    error?.message.contains("events come in through append()") == true, "\(String(describing: error))")
                try await connection.execute(script: "ROLLBACK TO before")
            }
            try await connection.execute(script: "COMMIT")
            await connection.close()
            #expect(try await one.count() == 1)
            #expect(try await other.count() == 1)
        }
    }

    /// One ledger is removed completely, and the other is not affected.
    @Test func migrateOnTheirOwn() async throws {
        try await TestLedger.with { one async throws in
            try await one.queue("a")
            let name = LedgerName(String("second_\(one.name)".prefix(50)))!
            let migrator = Migrator(url: one.url, ledger: name, files: try MigrationFile.embedded())
            #expect(try await migrator.status().allSatisfy { !$0.isApplied })
            #expect(try await migrator.up().count == migrator.files.count)
            while try await migrator.down() != nil {}
            #expect(try await migrator.status().allSatisfy { !$0.isApplied })
            let connection = try await one.connect()
            try await connection.execute(script: "DROP SCHEMA \"\(name)\" CASCADE")
            await connection.close()
            try await one.progress("a", 1)
            #expect(try await one.count() == 2)
        }
    }
}
