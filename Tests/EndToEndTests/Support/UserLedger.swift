import Foundation
import LedgerCore
import LedgerTesting
import Testing

@testable import EmbeddedServices

/// The ledger of a test, and the environment with which the program works on it.
struct UserLedger: Sendable {
    let ledger: TestLedger
    var environment: [String: String]

    /// - Parameter projecting: whether `jobledger project` runs beside the test.
    static func with(projecting: Bool = false, _ body: (UserLedger) async throws -> Void) async throws {
        let redis = try await TestServers.shared.redisURL()
        try await TestLedger.with { ledger in
            let user = UserLedger(
                ledger: ledger,
                environment: ["DATABASE_URL": ledger.url, "REDIS_URL": redis, "JOBLEDGER_SCHEMA": ledger.name.text])
            guard projecting else { return try await body(user) }
            try await user.running("project") { _ in
                try await user.untilProjected()
                try await body(user)
            }
        }
    }

    func run(_ arguments: String..., input: Data = Data()) async throws -> Outcome {
        try await run(arguments, input: input)
    }

    func run(_ arguments: [String], input: Data = Data()) async throws -> Outcome {
        try await Program.jobledger.run(arguments, environment: environment, input: input)
    }

    func start(_ arguments: String...) async throws -> RunningProgram {
        try await Program.jobledger.start(arguments, environment: environment)
    }

    /// Runs `body` while the program runs. The program is killed afterwards.
    func running(_ arguments: String..., during body: (RunningProgram) async throws -> Void) async throws {
        let program = try await Program.jobledger.start(arguments, environment: environment)
        do {
            try await body(program)
        } catch {
            await program.kill()
            throw error
        }
        await program.kill()
    }

    /// Waits until `status` reports that all projections run and have folded every event.
    func untilProjected() async throws {
        try await until("all projections run without lag") {
            let status = try await run("status", "--json").json()
            let projections = status["projections"]?.elements ?? []
            return projections.count == 5
                && projections.allSatisfy { $0["state"] == "running" && $0["lag"] == 0 && $0["active"] == true }
        }
    }

    func psql(_ statement: String, url: String? = nil) async throws -> Outcome {
        try await Program.psql().run([
            "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-qAt", "-c", statement,
            url ?? ledger.url,
        ])
    }
}

/// All end-to-end tests. They run one at a time, because they start processes and have time limits.
@Suite("The program", .serialized) enum EndToEnd {}
