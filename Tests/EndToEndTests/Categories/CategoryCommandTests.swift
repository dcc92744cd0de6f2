import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("categories") struct CategoryCommandTests {
        @Test("new writes a folder that holds its own cases") func new() async throws {
            let folder = try makeDirectory("categories").path
            let environment = ["DATABASE_URL": try await TestServers.shared.postgresURL()]
            let new = try await Program.jobledger.run(
                ["categories", "new", "parcel", "--categories", folder, "--json"], environment: environment)
            #expect(new.code == 0, "\(new)")
            #expect(try new.json()["files"]?.elements.count == 3)
            let again = try await Program.jobledger.run(
                ["categories", "new", "parcel", "--categories", folder], environment: environment)
            #expect(again.code == 1 && again.errors.contains("exists already"))
            for command in ["test", "check"] {
                let outcome = try await Program.jobledger.run(
                    ["categories", command, "parcel", "--categories", folder], environment: environment)
                #expect(outcome.code == 0 && outcome.output.hasPrefix("ok   parcel"), "\(outcome)")
            }
        }

        @Test("test runs the cases on the database, or on a private one if none is set", arguments: [true, false])
        func builtIn(withDatabase: Bool) async throws {
            let environment = withDatabase ? ["DATABASE_URL": try await TestServers.shared.postgresURL()] : [:]
            let outcome = try await Program.jobledger.run(["categories", "test", "--json"], environment: environment)
            #expect(outcome.code == 0, "\(outcome)")
            let lines = try outcome.jsonLines()
            #expect(lines.count >= 12 && lines.allSatisfy { $0["passed"] == true && $0["problems"] == [] })
            #expect(Set(lines.compactMap { $0["category"]?.text }) == ["backtest", "job", "strategy", "user"])
        }

        @Test("check shows place and reason, with exit 1") func contradiction() async throws {
            let folder = try makeDirectory("categories")
            let file = folder.appending(path: "parcel/category.json")
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            let text = #"{"name": "parcel", "life": {"": ["sent"], "sent": [], "lost": []}}"#
            try Data(text.utf8).write(to: file)
            let environment = ["DATABASE_URL": try await TestServers.shared.postgresURL()]
            let outcome = try await Program.jobledger.run(
                ["categories", "check", "--categories", folder.path, "--json"], environment: environment)
            #expect(outcome.code == 1, "\(outcome)")
            let failed = try outcome.jsonLines().filter { $0["passed"] == false }
            #expect(failed.map { $0["category"] } == ["parcel"])
            let problem = failed.first?["problems"]?.elements.first
            #expect(problem?["file"] == "category.json" && problem?["pointer"] == "/life/lost")
            // What contradicts itself is not installed.
            let migrate = try await Program.jobledger.run(
                ["migrate", "--categories", folder.path], environment: environment)
            #expect(migrate.code == 2 && migrate.errors.contains("/life/lost"), "\(migrate)")
        }

        @Test("migrate installs what has changed, and list shows it") func install() async throws {
            try await UserLedger.with { user in
                let folder = try makeDirectory("categories").path
                #expect(try await user.run("categories", "new", "parcel", "--categories", folder).code == 0)
                func states() async throws -> [String?] {
                    try await user.run("categories", "list", "--categories", folder, "--json").jsonLines()
                        .filter { $0["category"] == "parcel" }.map { $0["state"]?.text }
                }
                #expect(try await states() == ["missing"])
                let migrated = try await user.run("migrate", "--categories", folder, "--json")
                #expect(try migrated.json()["categories"]?.elements.contains("parcel") == true, "\(migrated)")
                #expect(try await states() == ["installed"])
                let again = try await user.run("migrate", "--categories", folder, "--json")
                #expect(try again.json()["categories"] == [])
                let file = "\(folder)/parcel/category.json"
                let text = try String(contentsOfFile: file, encoding: .utf8)
                try text.replacing("\"maxLength\": 200", with: "\"maxLength\": 300")
                    .write(toFile: file, atomically: true, encoding: .utf8)
                #expect(try await states() == ["changed"])
            }
        }
    }
}
