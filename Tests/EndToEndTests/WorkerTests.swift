import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("relay and project") struct WorkerTests {
        @Test(
            "end with exit 0 when told to, and leave the work to others", arguments: ["relay", "project"], [SIGTERM, SIGINT])
        func stop(command: String, signal: Int32) async throws {
            try await UserLedger.with { user in
                func isActive() async throws -> Bool {
                    let status = try await user.run("status", "--json").json()
                    let readers = command == "relay" ? [status["relay"]].compactMap { $0 } : status["projections"]?.elements ?? []
                    return !readers.isEmpty && readers.allSatisfy { $0["active"] == true }
                }
                try await user.running(command) { program in
                    try await until("\(command) is at work") { try await isActive() }
                    program.signal(signal)
                    let outcome = try await program.end()
                    #expect(outcome.code == 0, "\(outcome)")
                }
                // The lease was given up, not left to run out.
                #expect(try await !isActive())
            }
        }
    }
}
