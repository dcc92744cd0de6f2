package import EventStore
import Foundation
package import LedgerCore
package import Postgres

/// A ledger of a test's own: a fresh schema with all migrations, dropped afterwards.
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
        // A session of a program that was just killed may still be at work on the same tables, and
        // then Postgres ends one of the two.
        while true {
            do {
                try await connection.execute(script: "DROP SCHEMA \"\(name)\" CASCADE")
                break
            } catch SQLState.deadlockDetected {}
        }
        await connection.close()
        return result
    }

    /// A connection of the test's own, whose names are the ledger's.
    package func connect(as applicationName: String = "test") async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            EventStore.configuration(url: url, ledger: name, applicationName: applicationName), timeout: .seconds(30))
    }

    /// Queues a job; the total is unknown unless given.
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
