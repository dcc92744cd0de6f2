import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    /// The example service reports each failed job once, also after a restart.
    @Suite struct AlertsTests {
        private static let alerts = Program(
            path: URL(filePath: Program.jobledger.path).deletingLastPathComponent().appending(path: "alerts").path)

        @Test func reportsEachFailureOnce() async throws {
            try await UserLedger.with { user async throws in
                try await ServiceProcess.with(user) { service async throws in
                    let place = try makeDirectory("alerts").appending(path: "position").path
                    let environment = ["JOBLEDGER_URL": service.url, "JOBLEDGER_TOKEN": service.token]
                    func fail(_ job: String) async throws {
                        _ = try await service.append(#"{"type":"queued","data":{"name":"n"}}"#, to: job)
                        _ = try await service.append(#"{"type":"failed","data":{"error":"no \#(job)"}}"#, to: job)
                    }
                    try await fail("a")
                    let first = try await Self.alerts.start(["--state", place], environment: environment)
                    #expect(try await first.lines(1)[0].hasSuffix("  a  failed: no a"))
                    try await fail("b")
                    #expect(try await first.lines(2)[1].hasSuffix("  b  failed: no b"))
                    try await until("it is noted") { try String(contentsOfFile: place, encoding: .utf8) == "4\n" }
                    first.signal(SIGTERM)
                    #expect(try await first.end().code == 0)

                    try await fail("c")
                    let second = try await Self.alerts.start(["--state", place], environment: environment)
                    #expect(try await second.lines(1)[0].hasSuffix("  c  failed: no c"))
                    second.signal(SIGTERM)
                    let outcome = try await second.end()
                    #expect(outcome.code == 0 && outcome.lines.count == 1)
                }
            }
        }

        @Test func namesAMissingSetting() async throws {
            let outcome = try await Self.alerts.run([])
            #expect(outcome.code == 64 && outcome.errors.contains("JOBLEDGER_URL is not set"))
        }
    }
}
