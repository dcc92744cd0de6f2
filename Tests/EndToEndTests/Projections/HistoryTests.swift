import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("diff, blame and rebuild --until") struct HistoryTests {
        private static func fill(_ user: UserLedger) async throws {
            let metadata = #"{"actor":"ada"}"#
            for job in ["a", "b"] {
                _ = try await user.ledger.store.append(
                    NewEvent(type: "queued", data: #"{"name":"x","total":4}"#, metadata: metadata), to: job)
            }
            try await user.ledger.progress("a", 3)
            _ = try await user.ledger.store.append(NewEvent(type: "finished", metadata: #"{"actor":"bob"}"#), to: "a")
        }

        @Test("diff shows one line a job, with both values and the events") func diff() async throws {
            try await UserLedger.with { user in
                try await Self.fill(user)
                let outcome = try await user.run("diff", "--from", "2", "--to", "4", "--json")
                #expect(outcome.code == 0, "\(outcome)")
                let lines = try outcome.jsonLines()
                #expect(lines.count == 1)
                #expect(lines[0].members == ["job", "change", "columns", "events", "event_count"])
                #expect(lines[0]["job"] == "a" && lines[0]["change"] == "changed" && lines[0]["event_count"] == 2)
                #expect(lines[0]["columns"]?["status"] == .object(["from": "queued", "to": "finished"]))
                #expect(lines[0]["columns"]?["completed"] == .object(["from": 0, "to": 4]))
                #expect(lines[0]["events"]?.elements.compactMap { $0["position"]?.integer } == [3, 4])
                #expect(lines[0]["events"]?.elements.last?["actor"] == "bob")

                let told = try await user.run("diff", "--from", "0", "--to", "9999-01-01T00:00:00Z")
                #expect(told.output.contains("2 jobs changed between position 0 and position 4"), "\(told)")
                #expect(told.output.contains("b  added"))
                let one = try await user.run("diff", "--from", "0", "--to", "4", "--job", "b", "--json")
                #expect(try one.jsonLines().map { $0["job"]?.text } == ["b"])
                let none = try await user.run("diff", "--from", "1", "--to", "1", "--json")
                #expect(none.code == 0 && none.output == "")
                #expect(try await user.run("diff", "--from", "3", "--to", "1").code == 2)
                #expect(try await user.run("diff", "--from", "x", "--to", "1").code == 2)
                #expect(try await user.run("diff", "--from", "1", "--to", "2", "--job", "none").code == 1)
            }
        }

        @Test("blame shows which event set each column") func blame() async throws {
            try await UserLedger.with { user in
                try await Self.fill(user)
                let answer = try await user.run("blame", "a", "--json").json()
                #expect(answer["job"] == "a" && answer["position"] == 4)
                let columns = answer["columns"]?.elements ?? []
                func column(_ name: String) -> JSONValue? { columns.first { $0["column"]?.text == name } }
                #expect(columns.count == 17)
                #expect(column("status")?["value"] == "finished" && column("status")?["position"] == 4)
                #expect(column("status")?["type"] == "finished" && column("status")?["actor"] == "bob")
                #expect(
                    column("total")?["position"] == 1 && column("total")?["actor"] == "ada"
                        && column("total")?["version"] == 1)
                #expect(column("error")?["value"] == .null && column("error")?["position"] == nil)
                let then = try await user.run("blame", "a", "--at", "3", "--json").json()
                #expect(then["columns"]?.elements.first { $0["column"]?.text == "status" }?["value"] == "running")
                let told = try await user.run("blame", "a")
                #expect(told.output.contains("position 4  v3  finished"), "\(told)")
                let none = try await user.run("blame", "none", "--json")
                #expect(none.code == 1)
                #expect(try none.json()["error"]?["code"] == "unknown_job")
            }
        }

        @Test("show, blame and diff take any category that a projection shows") func categories() async throws {
            try await UserLedger.with { user in
                let folder = try makeDirectory("models")
                #expect(try await user.run("migrate").code == 0)
                #expect(try await user.run("projections", "new", "people", "--projections", folder.path).code == 0)
                for (file, text, replacement) in [
                    (
                        "projection.json", #"["queued", "progress", "truncated", "finished", "failed"]"#,
                        #"{"user": ["registered", "updated", "removed"]}"#
                    ),
                    ("projection.json", #"{"job": "people"}"#, #"{"user": "people"}"#),
                ] {
                    let path = folder.appending(path: "people/\(file)")
                    let before = try String(contentsOf: path, encoding: .utf8)
                    let after = before.replacing(text, with: replacement)
                    try #require(after != before)
                    try Data(after.utf8).write(to: path)
                }
                for (type, data) in [
                    ("registered", #"{"email":"ada@example.org"}"#), ("updated", #"{"username":"ada"}"#),
                ] {
                    let appended = try await user.run("append", "--category", "user", "u-1", type, "--data", data)
                    #expect(appended.code == 0, "\(appended)")
                }
                let several = try await user.run("show", "user", "u-1", "--projections", folder.path)
                #expect(
                    several.code == 2 && several.errors.contains("choose one of backtesting, people"), "\(several)")
                let models = ["--projections", folder.path, "--read-model", "people"]
                let then = try await user.run(["show", "user", "u-1", "--at", "1", "--json"] + models)
                #expect(try then.json()["events"] == 1, "\(then)")
                let option = try await user.run(["show", "u-1", "--category", "user", "--at", "2", "--json"] + models)
                #expect(try option.json()["events"] == 2)
                let blamed = try await user.run(["blame", "user", "u-1", "--json"] + models).json()
                #expect(blamed.members == ["category", "stream", "position", "columns"], "\(blamed)")
                #expect(blamed["columns"]?.elements.map { $0["position"]?.integer } == [1, 2, 2])
                let range = ["diff", "--category", "user", "--from", "1", "--to", "2", "--json"]
                let changed = try await user.run(range + models).jsonLines()
                #expect(
                    changed[0].members == ["category", "stream", "change", "columns", "events", "event_count"])

                let none = try await user.run(["show", "user", "u-2", "--at", "2"] + models)
                #expect(none.code == 1 && none.errors.contains("unknown_job: no user u-2"), "\(none)")
                for (words, message) in [
                    (["show", "order", "o-1"], "no projection has a row for each stream of the category order"),
                    (["show", "a", "b", "c"], "a category and the id of a stream"),
                    (["show", "user", "u-1", "--category", "user"], "a category and the id of a stream"),
                    (["blame", "Not A Category", "u-1"], "must be the name of a category"),
                    (["show", "user", "u-1", "--read-model", "nope"], "nope does not show the category user"),
                ] {
                    let refused = try await user.run([words[0]] + models + words.dropFirst())
                    #expect(refused.code == 2 && refused.errors.contains(message), "\(words): \(refused)")
                }
            }
        }

        @Test("rebuild --until makes the tables of an earlier position beside the live ones") func until() async throws
        {
            try await UserLedger.with { user in
                try await Self.fill(user)
                let schema = "\(user.ledger.name)_past"
                let answer = try await user.run("rebuild", "batch_jobs", "--until", "3", "--into", schema, "--json")
                #expect(answer.code == 0, "\(answer)")
                #expect(try answer.json().members == ["projection", "position", "rows", "digest", "events", "seconds"])
                #expect(try answer.json()["rows"] == 2)
                #expect(
                    try await user.psql("SELECT id, status FROM \(schema).batch_jobs ORDER BY id").lines == [
                        "a|running", "b|queued",
                    ])
                let again = try await user.run("rebuild", "batch_jobs", "--until", "3", "--into", schema)
                #expect(again.code == 1 && again.errors.contains("name another schema"), "\(again)")
                #expect(try await user.run("rebuild", "batch_jobs", "--until", "3").code == 2)
                #expect(try await user.run("rebuild", "batch_jobs", "--into", schema).code == 2)
                _ = try await user.psql("DROP SCHEMA \(schema) CASCADE")
            }
        }
    }
}
