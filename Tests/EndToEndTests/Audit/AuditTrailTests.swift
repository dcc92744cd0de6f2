import EventStore
import Foundation
import LedgerCore
import LedgerTesting
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
