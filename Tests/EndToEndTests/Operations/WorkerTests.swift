import Foundation
import LedgerTesting
import Postgres
import Testing

extension EndToEnd {
    @Suite("relay and project") struct WorkerTests {
        @Test(
            "end with exit code 0 and release their leases", arguments: ["relay", "project"], [SIGTERM, SIGINT])
        func stop(command: String, signal: Int32) async throws {
            try await UserLedger.with { user in
                func isActive() async throws -> Bool {
                    let status = try await user.run("status", "--json").json()
                    let readers =
                        command == "relay" ? [status["relay"]].compactMap { $0 } : status["projections"]?.elements ?? []
                    return !readers.isEmpty && readers.allSatisfy { $0["active"] == true }
                }
                try await user.running(command) { program in
                    try await until("\(command) is at work") { try await isActive() }
                    program.signal(signal)
                    let outcome = try await program.end()
                    #expect(outcome.code == 0, "\(outcome)")
                }
                // The lease was released and need not run out.
                #expect(try await !isActive())
            }
        }

        @Test("status replaces control characters in names, and cuts long errors") func hostileNames() async throws {
            try await UserLedger.with { user in
                let connection = try await user.ledger.connect()
                try await connection.query(
                    """
                    INSERT INTO projections (name, definition, state, error)
                    VALUES ($1, 'd', 'stopped', 'e' || chr(10) || repeat('z', 2000000))
                    """, "x\nseal        at 9, 0 behind, running\u{1B}[2J")
                await connection.close()
                let outcome = try await user.run("status")
                #expect(outcome.code == 1 && outcome.output.utf8.count < 10_000, "\(outcome.output.prefix(500))")
                #expect(!outcome.output.contains("\nseal        at 9") && !outcome.output.contains("\u{1B}"))
                #expect(try await user.run("status", "--json").json()["projections"]?.elements.count == 1)
            }
        }
    }
}
