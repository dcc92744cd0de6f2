package import EventStore
import Foundation
package import LedgerCore
package import Postgres

/// A new ledger for one test: a schema with all migrations, which is dropped afterwards.
package struct TestLedger: Sendable {
    package let url: String
    package let name: LedgerName
    package let store: EventStore

    package static func with<T: Sendable>(
        url: String? = nil, connections: Int = 8, _ body: (TestLedger) async throws -> T
    ) async throws -> T {
        let url = if let url { url } else { try await TestServers.shared.postgresURL() }
        let name = LedgerName("t_\(UUID().uuidString.lowercased().replacing("-", with: "").prefix(20))")!
        _ = try await Migrator(url: url, ledger: name, files: try MigrationFile.embedded()).up()
        let ledger = TestLedger(
            url: url, name: name,
            store: EventStore(url: url, ledger: name, connections: connections, timeout: .seconds(30)))
        let result: T
        do {
            result = try await body(ledger)
        } catch {
            await ledger.store.close()
            throw error
        }
        await ledger.store.close()
        let connection = try await ledger.connect()
        // A session of a program that was just killed may still use the same tables. Postgres then
        // resolves the deadlock by ending one of the two, so the drop is repeated.
        while true {
            do {
                try await connection.execute(script: "DROP SCHEMA \"\(name)\" CASCADE")
                break
            } catch SQLState.deadlockDetected {}
        }
        await connection.close()
        return result
    }

    /// A new connection whose search path is the ledger.
    package func connect(as applicationName: String = "test") async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            EventStore.configuration(url: url, ledger: name, applicationName: applicationName), timeout: .seconds(30))
    }

    /// Queues a job. A total of 0 means that the total is unknown.
    @discardableResult
    package func queue(_ job: some CustomStringConvertible, total: Int = 0) async throws -> Appended {
        try await store.append(
            NewEvent(type: "queued", data: #"{"name":"test","total":\#(total)}"#), to: JobID(job.description))
    }

    @discardableResult
    package func progress(_ job: some CustomStringConvertible, _ completed: Int) async throws -> Appended {
        try await store.append(
            NewEvent(type: "progress", data: #"{"completed":\#(completed)}"#), to: JobID(job.description))
    }

    /// The number of events in the log.
    package func count() async throws -> Int64 {
        try await store.pool.withConnection { try await $0.query("SELECT count(*) FROM events").only().decode(0) }
    }
}

extension TestLedger {
    /// Loses the events behind a position, as a failover to a server that had not received them.
    /// - Parameters:
    ///   - beginsEpoch: whether to begin another epoch, as the first append there does.
    ///   - others: how many jobs are queued before anybody can see the shorter log.
    package func lose(
        after position: Position, beginningEpoch beginsEpoch: Bool = true, appending others: Int = 0
    ) async throws {
        let connection = try await connect(as: "failover")
        try await connection.execute(
            script: """
                BEGIN;
                ALTER TABLE events DISABLE TRIGGER events_append_only;
                DELETE FROM events WHERE position > \(position);
                ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;
                UPDATE checkpoints SET position = least(position, \(position)) WHERE reader NOT LIKE 'append %';
                \(beginsEpoch ? "SELECT begin_epoch();" : "")
                SELECT append_event('other ' || number, 'queued', '{"name":"x"}')
                  FROM generate_series(1, \(others)) AS number;
                COMMIT
                """)
        await connection.close()
    }

    /// Begins another epoch, and loses nothing.
    package func beginEpoch() async throws {
        _ = try await store.pool.withConnection { try await $0.query("SELECT begin_epoch()") }
    }

    /// The first position of each epoch, in order.
    package func epochStarts() async throws -> [Position] {
        try await store.pool.withConnection { connection in
            try await connection.query("SELECT first_position FROM epochs ORDER BY number").map { try $0.decode(0) }
        }
    }

    /// The digits of the present epoch.
    package func epochDigits() async throws -> EpochDigits { EpochDigits(try await store.epoch()) }
}
