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

        @Test("check goes on behind a folder that is no category") func several() async throws {
            let folder = try makeDirectory("categories")
            for (name, text) in [
                ("a_broken", "{"), ("b_unknown", #"{"name": "b_unknown", "life": {"": []}, "colour": 1}"#),
                ("c_lost", #"{"name": "c_lost", "life": {"": ["sent"], "sent": [], "lost": []}}"#),
                (
                    "d_refers",
                    #"{"name": "d_refers", "life": {"": ["sent"], "sent": []}, "data": {"sent": {"properties": {"#
                        + #""a": {"type": "string"}}}}, "references": [{"key": "a", "category": "a_broken"}]}"#
                ),
            ] {
                let file = folder.appending(path: "\(name)/category.json")
                try FileManager.default.createDirectory(
                    at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(text.utf8).write(to: file)
            }
            let outcome = try await Program.jobledger.run(
                ["categories", "check", "--categories", folder.path, "--json"])
            #expect(outcome.code == 1, "\(outcome)")
            let lines = try outcome.jsonLines()
            let failed = lines.filter { $0["passed"] == false }
            // A reference to a category that is broken itself is right.
            #expect(failed.map { $0["category"]?.text } == ["a_broken", "b_unknown", "c_lost"], "\(outcome)")
            #expect(failed.allSatisfy { $0["problems"]?.elements.count == 1 }, "\(outcome)")
            #expect(lines.contains { $0["category"] == "d_refers" && $0["passed"] == true }, "\(outcome)")
            let one = try await Program.jobledger.run(
                ["categories", "check", "a_broken", "--categories", folder.path])
            #expect(one.code == 1 && one.output.contains("FAIL a_broken\n     category.json: "), "\(one)")
            let none = try await Program.jobledger.run(
                ["categories", "check", "paintings", "--categories", folder.path])
            #expect(none.code == 2 && none.errors.contains("a_broken"), "\(none)")
            // What can be read by nobody is another matter.
            try FileManager.default.createSymbolicLink(
                atPath: folder.appending(path: "e_gone").path, withDestinationPath: "/no/such/folder")
            let unreadable = try await Program.jobledger.run(["categories", "check", "--categories", folder.path])
            #expect(unreadable.code == 2 && unreadable.errors.contains("a link to nothing"), "\(unreadable)")
        }

        @Test("a category or type that the ledger does not have is a usage error of those who read")
        func unknown() async throws {
            try await UserLedger.with { user in
                for command in [
                    ["tail", "--category", "nope"], ["tail", "--category", "nope", "--until-head"],
                    ["history", "--category", "nope", "x"],
                ] {
                    let outcome = try await Program.jobledger.run(command, environment: user.environment)
                    #expect(outcome.code == 2 && outcome.output.isEmpty, "\(command): \(outcome)")
                    let says = #"there is no category "nope"; there are job"#
                    #expect(outcome.errors.contains(says), "\(command): \(outcome)")
                }
                #expect(try await user.run("migrate").code == 0)
                for end in [[], ["--until-head"]] {
                    let outcome = try await Program.jobledger.run(
                        ["tail", "--category", "user", "--type", "nope"] + end, environment: user.environment)
                    #expect(outcome.code == 2, "\(outcome)")
                    #expect(outcome.errors.contains("'nope' is not an event type of user; use "), "\(outcome)")
                }
                let none = try await user.run("history", "--category", "user", "x")
                #expect(none.code == 1 && none.errors.contains("unknown_job: user x has no events"), "\(none)")
                #expect(try await user.run("tail", "--category", "user", "--until-head").code == 0)
            }
        }

        @Test("list without a database shows what there is, and says what it did not ask") func offline() async throws {
            let list = try await Program.jobledger.run(["categories", "list", "--json"])
            #expect(list.code == 0 && list.errors.contains("DATABASE_URL is not set"), "\(list)")
            #expect(try list.jsonLines().allSatisfy { $0["state"] == nil })
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
