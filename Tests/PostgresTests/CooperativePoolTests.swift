import LedgerTesting
import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(15))) struct CooperativePoolTests {
    /// More statements sleep than Swift's pool has threads, and other tasks still run.
    @Test func sleepingStatementsDoNotBlockOtherTasks() async throws {
        let url = try await TestServers.shared.postgresURL()
        let name = "sleepers-\(UInt32.random(in: 0...UInt32.max))"
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    let connection = try await PostgresConnection.connect(
                        PostgresConfiguration(url: url, applicationName: name))
                    _ = try? await connection.query("SELECT pg_sleep(600)")
                }
            }
            // This needs threads too, while sixteen are blocked.
            try await withConnection { watcher in
                let sleeping =
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'PgSleep'"
                try await eventually(within: .seconds(120), "all sleep") {
                    try await watcher.number(sleeping, name) == 16 ? () : nil
                }
                await withTaskGroup(of: Void.self) { others in
                    for _ in 0..<8 {
                        others.addTask { for _ in 0..<1_000 { await Task.yield() } }
                    }
                }
                #expect(
                    try await watcher.number(sleeping, name) == 16,
                    "the others went on only after the sleepers had woken")
            }
            group.cancelAll()
            try await group.waitForAll()
        }
    }
}
