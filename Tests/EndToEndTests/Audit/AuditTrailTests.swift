import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

extension EndToEnd {
    @Suite("the audit trail") struct AuditTrailTests {
        private static func fill(_ user: UserLedger) async throws {
            func append(_ arguments: String...) async throws {
                let outcome = try await Program.jobledger.run(["append"] + arguments, environment: user.environment)
                #expect(outcome.code == 0, "\(outcome)")
            }
            try await append(
                "sma", "queued", "--data", #"{"name": "=SMA, \"fast\"", "total": 4}"#, "--actor", "ada",
                "--correlation-id", "req-7", "--source", "notebook")
            try await append("sma", "progress", "--data", #"{"completed": 1}"#, "--actor", "w-1")
            try await append("sma", "progress", "--data", #"{"completed": 2}"#, "--actor", "w-1")
            let id = try #require(try await user.ledger.store.page(EventQuery(limit: 1)).first).id.text
            try await append(
                "sma", "failed", "--data", #"{"error": "out of memory"}"#, "--actor", "w-1", "--causation-id", id)
            try await append("rsi", "queued", "--data", #"{"name": "RSI"}"#, "--actor", "bob")
        }

        @Test("a few commands show who failed a job and why") func questions() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                try await user.untilProjected()
                let table = try await user.run("audit", "events")
                #expect(table.code == 0 && table.lines.count == 6, "\(table)")
                #expect(table.lines[0].hasPrefix("position  when"), "\(table)")
                #expect(table.lines[2].contains("w-1") && table.lines[2].hasSuffix("out of memory"), "\(table)")
                for (arguments, positions) in [
                    (["--type", "failed"], [4]), (["--actor", "ada"], [1]), (["--text", "MEMORY"], [4]),
                    (["--correlation-id", "req-7"], [1]),
                    (["--job", "sma", "--from", "2", "--to", "3"], [3, 2]), (["--oldest", "--limit", "2"], [1, 2]),
                    (["--after", "3"], [2, 1]), (["--actor", "nobody"], []), (["--from", "2999-01-01T00:00:00Z"], []),
                ] {
                    let outcome = try await Program.jobledger.run(
                        ["audit", "events", "--json"] + arguments, environment: user.environment)
                    #expect(
                        try outcome.jsonLines().compactMap { $0["position"]?.integer } == positions,
                        "\(arguments): \(outcome)")
                }
                for wrong in [
                    ["--type", "x"], ["--limit", "0"], ["--from", "soon"], ["--format", "xml"], ["--after", "0"],
                ] {
                    let outcome = try await Program.jobledger.run(
                        ["audit", "events"] + wrong, environment: user.environment)
                    #expect(outcome.code == 2, "\(wrong): \(outcome)")
                }
                let csv = try await user.run("audit", "events", "--job", "sma", "--format", "csv", "--oldest")
                let lines = csv.output.components(separatedBy: "\r\n")
                #expect(lines.count == 6 && lines.last == "", "\(csv)")
                #expect(
                    lines[0].hasPrefix("position,event_id,recorded_at") && lines[1].contains(#","'=SMA, ""fast"""#),
                    "\(csv)")

                let why = try await user.run("audit", "why", "4")
                #expect(
                    why.lines.count == 2 && why.lines[0].contains("sma queued by ada")
                        && why.lines[1].contains("▶ sma failed by w-1"), "\(why)")
                let effects = try await user.run("audit", "why", "1", "--json").json()
                #expect(effects["consequences"]?.elements.first?["event"]?["position"] == 4)
                #expect(try await user.run("audit", "why", "99").code == 1)
                #expect(try await user.run("audit", "why", "x").code == 2)

                let actor = try await user.run("audit", "actor", "w-1")
                #expect(
                    actor.output.contains("w-1: 3 events") && actor.output.contains("2 progress, 1 failed"), "\(actor)")
                #expect(try await user.run("audit", "actor", "nobody").code == 1)

                let job = try await user.run("audit", "job", "sma")
                #expect(
                    job.output.contains("sma: 4 events, by ada, w-1")
                        && job.output.contains("progress ×2 by w-1: 2 done"),
                    "\(job)")
                #expect(job.output.contains("it failed at position 4"), "\(job)")
                #expect(try await user.run("audit", "job", "none").code == 1)
            }
        }

        /// A user and a job with one id, and a strategy that comes of the job.
        private static func fillCategories(_ user: UserLedger) async throws {
            let owner = try await user.ledger.connect()
            try await TestCategories.install(on: owner)
            await owner.close()
            var cause: String?
            for (stream, type, data) in [
                (["--category", "user", "x"], "registered", #"{"email": "ada@example.org"}"#),
                (["x"], "queued", #"{"name": "SMA"}"#),
                (["--category", "strategy", "s"], "saved", #"{"user_id": "x", "name": "SMA", "elements": []}"#),
                (["--category", "user", "x"], "removed", "{}"),
            ] {
                let because = cause.map { ["--causation-id", $0] } ?? []
                let outcome = try await Program.jobledger.run(
                    ["append", "--json"] + stream + [type, "--data", data, "--actor", "ada"] + because,
                    environment: user.environment)
                cause = try outcome.json()["event_id"]?.text
                #expect(outcome.code == 0 && cause != nil, "\(outcome)")
            }
        }

        @Test("streams of other categories are in the trail, each with its category") func categories() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fillCategories(user)
                try await user.untilProjected()
                let table = try await user.run("audit", "events", "--oldest")
                #expect(table.lines.count == 5 && table.lines[0].contains("category  stream"), "\(table)")
                #expect(table.lines[1].contains("user") && table.lines[1].contains("registered"), "\(table)")
                for (arguments, positions) in [
                    (["--category", "user"], [4, 1]), (["--category", "user", "--type", "registered"], [1]),
                    (["--category", "user", "--job", "x"], [4, 1]), (["--job", "x"], [2]), (["--type", "queued"], [2]),
                    (["--category", "job", "--text", "SMA"], [2]), (["--category", "strategy", "--actor", "ada"], [3]),
                ] {
                    let outcome = try await Program.jobledger.run(
                        ["audit", "events", "--json"] + arguments, environment: user.environment)
                    #expect(
                        try outcome.jsonLines().compactMap { $0["position"]?.integer } == positions,
                        "\(arguments): \(outcome)")
                }
                let lines = try await user.run("audit", "events", "--oldest", "--json").jsonLines()
                #expect(lines[0]["category"] == "user" && lines[0]["stream"] == "x" && lines[0]["job"] == nil)
                #expect(lines[1]["job"] == "x" && lines[1]["category"] == nil && lines[1]["stream"] == nil)
                let csv = try await user.run("audit", "events", "--oldest", "--format", "csv")
                let rows = csv.output.components(separatedBy: "\r\n")
                #expect(rows[0].contains(",actor,category,stream,version,") && rows[1].contains(",ada,user,x,1,"))
                #expect(rows[2].contains(",ada,job,x,1,") && !csv.output.contains("example.org"), "\(csv)")

                let why = try await user.run("audit", "why", "3")
                #expect(why.lines.count == 4 && why.lines[0].contains("user x registered by ada"), "\(why)")
                #expect(why.lines[1].contains(" x queued by ada"), "\(why)")
                #expect(why.lines[2].contains("▶ strategy s saved by ada"), "\(why)")
                let actor = try await user.run("audit", "actor", "ada")
                #expect(
                    actor.output.contains("1 queued, 1 strategy saved, 1 user registered, 1 user removed"),
                    "\(actor)")
                #expect(actor.output.contains("jobs and other streams\n  user x  2\n"), "\(actor)")
                let counts = try await user.run("audit", "actor", "ada", "--json").json()
                #expect(counts["types"]?["queued"] == 1 && counts["categories"]?["user"]?["removed"] == 1)
                #expect(counts["jobs"]?.elements.count == 1 && counts["streams"]?.elements.count == 2)

                let stream = try await user.run("audit", "job", "--category", "user", "x")
                #expect(
                    stream.output.contains("user x: 2 events, by ada")
                        && stream.output.contains("it ended as removed at position 4"), "\(stream)")
                let story = try await user.run("audit", "job", "--category", "user", "x", "--json").json()
                #expect(story["category"] == "user" && story["stream"] == "x" && story["ended"] == "removed")
                let none = try await user.run("audit", "job", "--category", "strategy", "x")
                #expect(none.code == 1 && none.errors.contains("unknown_job: strategy x has"), "\(none)")
            }
        }

        @Test("the events of a stream are proved, and those of a job with its id are not among them")
        func completeStream() async throws {
            try await UserLedger.with(projecting: true) { user in
                var user = user
                let directory = try makeDirectory("audit")
                defer { try? FileManager.default.removeItem(at: directory) }
                let (key, file) = (
                    directory.appending(path: "seal.key").path, directory.appending(path: "x.tlog-proof").path
                )
                let made = try await user.run("audit", "key", "--out", key)
                try Data(made.output.utf8).write(to: directory.appending(path: "vkey"))
                user.environment["JOBLEDGER_SEAL_KEY"] = key
                try await Self.fillCategories(user)
                #expect(try await user.run("audit", "seal", "--until-head").code == 0)
                try await user.untilProjected()
                let whole = try await user.run("audit", "job", "--category", "user", "x", "--prove")
                #expect(
                    whole.code == 0
                        && whole.output.contains("exactly 2 of them are this stream's: the complete stream"),
                    "\(whole)")
                let proof = try await user.run("audit", "prove", "--category", "user", "--job", "x", "--out", file)
                #expect(proof.code == 0 && proof.errors.contains("proves 2 events of user x"), "\(proof)")
                let check = ["audit", "check", file, "--key", directory.appending(path: "vkey").path]
                let told = try await Program.jobledger.run(check)
                #expect(told.code == 0, "\(told)")
                #expect(told.output.contains("these 2 events are all events of the user x up to position 4"))
                let json = try await Program.jobledger.run(check + ["--json"]).json()
                #expect(json["category"] == "user" && json["stream"] == "x" && json["job"] == nil)
                #expect(json["whole"] == nil)
                let ended = try await Program.jobledger.run(check + ["--whole"])
                #expect(ended.code == 1, "\(ended)")
                #expect(ended.errors.contains("do not show whether the user x has ended"), "\(ended)")
                #expect(try await PythonTools.checkSeal("proof", file, "--key", check[4]).code == 0)
            }
        }

        @Test("the events of a job are proved to be complete, until the log is tampered with")
        func complete() async throws {
            try await UserLedger.with(projecting: true) { user in
                var user = user
                let directory = try makeDirectory("audit")
                defer { try? FileManager.default.removeItem(at: directory) }
                let key = directory.appending(path: "seal.key").path
                #expect(try await user.run("audit", "key", "--out", key).code == 0)
                user.environment["JOBLEDGER_SEAL_KEY"] = key
                try await Self.fill(user)
                try await user.untilProjected()
                let unsealed = try await user.run("audit", "job", "sma", "--prove")
                #expect(unsealed.code == 1 && unsealed.errors.contains("nothing is sealed"), "\(unsealed)")
                #expect(try await user.run("audit", "seal", "--until-head").code == 0)
                let whole = try await user.run("audit", "job", "sma", "--prove")
                #expect(
                    whole.code == 0 && whole.output.contains("exactly 4 of them are this job's: the complete job"),
                    "\(whole)")
                let open = try await user.run("audit", "job", "rsi", "--prove", "--json").json()
                #expect(
                    open["proof"]?["whole"] == false && open["proof"]?["events"] == 1 && open["proof"]?["sealed"] == 5)
                // An event is hidden from the job by giving it to another job.
                let hidden = try await user.psql(
                    """
                    ALTER TABLE \(user.ledger.name).events DISABLE TRIGGER ALL;
                    UPDATE \(user.ledger.name).events SET stream_id = 'other' WHERE position = 3
                    """)
                #expect(hidden.code == 0, "\(hidden)")
                let touched = try await user.run("audit", "job", "sma", "--prove")
                #expect(touched.code == 1 && touched.errors.contains("the log is not what was sealed"), "\(touched)")
            }
        }

        @Test("refusals of the service are listed") func refusals() async throws {
            try await UserLedger.with { user in
                try await ServiceProcess.with(user) { service in
                    _ = try await service.append(#"{"type": "queued", "data": {"name": "x"}}"#, to: "a")
                    for _ in 0..<3 {
                        let again = #"{"type": "queued", "data": {"name": "x"}, "metadata": {"actor": "eve"}}"#
                        #expect(try await service.ask("POST", "/v1/jobs/a/events", again).status == 409)
                    }
                    try await until("they are written") {
                        try await user.run("audit", "refusals", "--actor", "eve", "--json").jsonLines()
                            .reduce(0) { $0 + ($1["times"]?.integer ?? 0) } == 3
                    }
                    let told = try await user.run("audit", "refusals", "--job", "a")
                    #expect(told.output.contains("already_queued") && told.output.contains("eve, token"), "\(told)")
                    #expect(told.output.contains("queued of a"), "\(told)")
                    let none = try await user.run("audit", "refusals", "--code", "too_large")
                    #expect(
                        none.code == 0 && none.output == "" && none.errors.contains("nothing was refused"), "\(none)")
                }
            }
        }
    }
}
