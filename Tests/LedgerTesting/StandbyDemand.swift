import EmbeddedServices
import Foundation
import Postgres

/// A server of the test's own whose commits wait, while the test says so, for a standby that does
/// not exist.
package struct StandbyDemand: Sendable {
    package let url: String
    private let admin: PostgresConnection

    package static func with<T: Sendable>(_ body: (StandbyDemand) async throws -> T) async throws -> T {
        let directory = TestServers.directory("replicated-postgres")
        defer { try? FileManager.default.removeItem(at: directory) }
        let server = try await PrivatePostgres.start(directory: directory, settings: ["fsync": "off"])
        let result: Result<T, any Error>
        do {
            let admin = try await PostgresConnection.connect(
                PostgresConfiguration(url: server.url, sessionSettings: [("synchronous_commit", "local")]))
            result = .success(try await body(StandbyDemand(url: server.url, admin: admin)))
            await admin.close()
        } catch {
            result = .failure(error)
        }
        try await server.stop()
        return try result.get()
    }

    package func begin() async throws {
        try await admin.execute(script: "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        try await admin.query("SELECT pg_reload_conf()")
        // The checkpointer lets commits wait, once it has read the setting. The driver cancels a
        // statement that is silent.
        let probe = try await PostgresConnection.connect(
            PostgresConfiguration(url: url, silence: .milliseconds(200)))
        _ = try await eventually("the server waits for standbys") { () async throws -> Bool? in
            do {
                try await probe.query("SELECT pg_logical_emit_message(true, 'probe', '')")
                return nil
            } catch let error as PostgresError {
                return error.kind == .notReplicated ? true : nil
            }
        }
        await probe.close()
    }

    /// Lets the commits that wait end well.
    package func end() async throws {
        try await admin.execute(script: "ALTER SYSTEM RESET synchronous_standby_names")
        try await admin.query("SELECT pg_reload_conf()")
    }

    /// A commit that waits. A session that waits again does so in another transaction.
    package struct Wait: Sendable, Equatable {
        package let process: Int32
        let transactionBegan: String
    }

    /// The commits that wait now.
    package func waiting() async throws -> [Wait] {
        // The commits of the server's own processes wait too.
        try await admin.query(
            """
            SELECT pid, xact_start::text FROM pg_stat_activity
             WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'
            """
        ).map { Wait(process: try $0.decode(0), transactionBegan: try $0.decode(1)) }
    }

    package func nextWait() async throws -> Wait {
        try await eventually("a commit waits for a standby") { try await waiting().first }
    }

    /// Cancels the wait of a commit, as an operator or a time limit does. Returns when all can see
    /// what was committed: the server answers the client before.
    package func cancelWait(of wait: Wait) async throws {
        try await admin.query("SELECT pg_cancel_backend($1)", wait.process)
        _ = try await eventually("the transaction has ended") {
            let rows = try await admin.query(
                "SELECT FROM pg_stat_activity WHERE pid = $1 AND xact_start = $2::text::timestamptz", wait.process,
                wait.transactionBegan)
            return rows.isEmpty ? true : nil
        }
    }

    /// Runs statements whose commits wait for nobody.
    package func execute(script: String) async throws { try await admin.execute(script: script) }

    /// The number of rows of a table.
    package func count(_ table: String) async throws -> Int64 {
        try await admin.query("SELECT count(*) FROM \(table)").only().decode(0)
    }
}
