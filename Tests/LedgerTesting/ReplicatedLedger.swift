package import EmbeddedServices
import EventStore
import Foundation
package import LedgerCore
import Postgres

/// A ledger on a primary whose commits wait for its one standby.
package struct ReplicatedLedger: Sendable {
    package let primary: PrivatePostgres
    package let standby: PrivateStandby
    package let ledger: TestLedger
    private let admin: PostgresConnection

    package static func with(_ body: (ReplicatedLedger) async throws -> Void) async throws {
        let (directory, copy) = (TestServers.directory("primary"), TestServers.directory("standby"))
        defer { for place in [directory, copy] { try? FileManager.default.removeItem(at: place) } }
        let primary = try await PrivatePostgres.start(directory: directory, settings: ["fsync": "off"])
        do {
            let standby = try await PrivateStandby.start(of: primary, in: copy)
            do {
                let admin = try await PostgresConnection.connect(
                    PostgresConfiguration(url: primary.url, sessionSettings: [("synchronous_commit", "local")]))
                try await TestLedger.with(url: primary.url) { ledger in
                    let replicated = ReplicatedLedger(
                        primary: primary, standby: standby, ledger: ledger, admin: admin)
                    try await replicated.waitForStandbys("standby")
                    try await body(replicated)
                    try await replicated.waitForStandbys("")
                }
                await admin.close()
            } catch {
                await standby.stop()
                throw error
            }
            await standby.stop()
        } catch {
            try await primary.stop()
            throw error
        }
        try await primary.stop()
    }

    /// The same with a ledger that demands quorum.
    package static func demanding(_ body: (ReplicatedLedger, TestLedger) async throws -> Void) async throws {
        try await with { replicated in
            try await replicated.ledger.store.demand(.quorum)
            try await body(replicated, replicated.ledger)
            try await replicated.waitForStandbys("standby")
            try await replicated.ledger.store.demand(.local)
        }
    }

    /// Sets which standbys the primary's commits wait for; none if it is empty. Returns when it is
    /// in force.
    package func waitForStandbys(_ names: String) async throws {
        try await admin.execute(script: "ALTER SYSTEM SET synchronous_standby_names = '\(names)'")
        try await admin.query("SELECT pg_reload_conf()")
        _ = try await eventually("the setting is in force") {
            let probe = try await PostgresConnection.connect(
                PostgresConfiguration(url: primary.url), timeout: .seconds(60))
            let isInForce: Bool = try await probe.query(
                """
                SELECT current_setting('synchronous_standby_names') = $1
                       AND EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync') = ($1 <> '')
                """, names
            ).only().decode(0)
            await probe.close()
            return isInForce ? true : nil
        }
        // Who waits already is let go with the standby's next answer, which comes to new WAL. This
        // session's commit does not wait.
        if !names.isEmpty { try await admin.query("SELECT pg_logical_emit_message(true, 'test', '')") }
    }

    /// Makes the primary wait for a standby that does not exist, so that nothing is confirmed.
    package func loseStandby() async throws {
        try await admin.execute(script: "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        try await admin.query("SELECT pg_reload_conf()")
        _ = try await eventually("no standby is waited for that is there") {
            try await admin.query("SELECT FROM pg_stat_replication WHERE sync_state = 'sync'").isEmpty ? true : nil
        }
    }

    /// Appends an event that everybody can see and no standby has, as after a cancelled wait or a
    /// crash. The standby stays away.
    /// - Returns: its position.
    package func appendUnseen() async throws -> Position {
        try await loseStandby()
        let connection = try await ledger.connect()
        try await connection.execute(
            script: """
                BEGIN; SELECT confirm_afterwards();
                SELECT append_event('unseen', 'queued', '{"name":"x"}'); COMMIT
                """)
        await connection.close()
        return try await ledger.store.head()
    }

    package func execute(script: String) async throws { try await admin.execute(script: script) }

    /// How many sessions the standby has had.
    package func sessionsOfStandby() async throws -> Int64 {
        let probe = try await PostgresConnection.connect(PostgresConfiguration(url: standby.url), timeout: .seconds(60))
        let count: Int64 = try await probe.query(
            "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
        ).only().decode(0)
        await probe.close()
        return count
    }

    /// Returns once so many sessions wait for the standby.
    package func untilWaiting(_ count: Int) async throws {
        _ = try await eventually("\(count) wait") { try await waiting() == count ? true : nil }
    }

    /// The sessions whose commits wait for the standby.
    package func waiting() async throws -> Int {
        try await admin.query(
            "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'"
        ).count
    }
}
