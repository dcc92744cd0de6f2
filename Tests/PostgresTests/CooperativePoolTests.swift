import LedgerTesting
import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(1))) struct CooperativePoolTests {
    /// More statements sleep than there are threads in Swift's pool; other tasks go on as if nothing were.
    @Test func sleepingStatementsHoldUpNobodyElse() async throws {
        let url = try await TestServers.shared.postgresURL()
        let name = "sleepers-\(UInt32.random(in: 0...UInt32.max))"
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    let connection = try await PostgresConnection.connect(PostgresConfiguration(url: url, applicationName: name))
                    _ = try? await connection.query("SELECT pg_sleep(600)")
                }
            }
            // This needs threads too, while up to sixteen are blocked.
            try await withConnection { watcher in
                try await eventually("all sleep") {
                    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'PgSleep'"
                    return try await watcher.number(sql, name) == 16 ? () : nil
                }
            }
            let start = ContinuousClock.now
            await withTaskGroup(of: Void.self) { others in
                for _ in 0..<8 {
                    others.addTask { for _ in 0..<1_000 { await Task.yield() } }
                }
            }
            #expect(start.duration(to: .now) < .seconds(10))
            group.cancelAll()
            try await group.waitForAll()
        }
    }
}
