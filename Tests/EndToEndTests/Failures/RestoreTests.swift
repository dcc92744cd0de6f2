import EmbeddedServices
import Foundation
import LedgerTesting
import Testing

@testable import EmbeddedServices

extension EndToEnd {
    /// A dump is restored on another server, which has none of the roles.
    @Suite("a restore") struct RestoreTests {
        @Test("without the roles is refused until migrate has restored them") func elsewhere() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await user.ledger.queue("a")
                try await user.untilProjected()
                let files = try makeDirectory("restore")
                defer { try? FileManager.default.removeItem(at: files) }
                let dump = files.appending(path: "dump.sql").path
                let dumped = try await Program(path: try Programs.find("pg_dump", package: "postgresql-client")).run([
                    "--schema=\(user.ledger.name)", "--file=\(dump)", user.ledger.url,
                ])
                #expect(dumped.code == 0, "\(dumped)")

                let server = try await PrivatePostgres.start(
                    directory: TestServers.directory("restored"), settings: ["fsync": "off"])
                let restored = try await Program.psql().run(["--no-psqlrc", "-q", "-f", dump, server.url])
                #expect(restored.code == 0 && restored.errors.contains("does not exist"), "\(restored)")
                var there = user
                there.environment["DATABASE_URL"] = server.url
                there.environment["JOBLEDGER_HTTP_PORT"] = "0"

                for command in [["relay"], ["project"], ["serve"]] {
                    let refused = try await Program.jobledger.run(command, environment: there.environment)
                    #expect(refused.code == 1, "\(command): \(refused)")
                    #expect(
                        refused.errors.contains("the role \(user.ledger.name)_owner, and all that it may do"),
                        "\(refused)")
                    #expect(refused.errors.contains("the policy leases_of_relay ON leases"), "\(refused)")
                    #expect(refused.errors.contains("jobledger migrate restores them"), "\(refused)")
                }
                let mended = try await there.run("migrate")
                #expect(mended.code == 0, "\(mended)")
                for role in ["owner", "appender", "reader", "subscriber", "relay", "projector", "sealer", "auditor"] {
                    #expect(mended.output.contains("mended   the role \(user.ledger.name)_\(role)"), "\(mended)")
                }
                let again = try await there.run("migrate")
                #expect(again.output.hasPrefix("nothing to do"), "\(again)")

                // Each role has its rights again, and no more.
                let script = """
                    SET ROLE "\(user.ledger.name)_appender";
                    SELECT position FROM "\(user.ledger.name)".append_event('a', 'progress', '{"completed":1}');
                    SET ROLE "\(user.ledger.name)_reader"; SELECT count(*) FROM "\(user.ledger.name)".batch_jobs
                    """
                let used = try await there.psql(script, url: server.url)
                #expect(used.code == 0 && used.lines == ["2", "1"], "\(used)")
                let reached = try await there.psql(
                    "SET ROLE \"\(user.ledger.name)_appender\"; SELECT count(*) FROM \"\(user.ledger.name)\".events",
                    url: server.url)
                #expect(reached.errors.contains("42501"), "\(reached)")
                try await there.running("project") { _ in try await there.untilProjected() }
                try await server.stop()
            }
        }
    }
}
