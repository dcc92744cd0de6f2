import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

extension EndToEnd {
    /// What can be found out, and repaired, after a failover that lost acknowledged events.
    @Suite("after a loss") struct LostTests {
        /// The answers to the appends, the lines that were appended, what tail has printed and an
        /// export, all of before the loss.
        private struct Remembered {
            var answers: String
            var sent: String
            var tailed: String
            var exported: URL
            var old: EpochDigits
            var ids: [String]
        }

        /// 8 events of two jobs, of which the last 4 are lost: the end of `a`, and all of `b`. Then
        /// another event takes the first lost position.
        private static func afterLoss(_ body: (UserLedger, Remembered) async throws -> Void) async throws {
            try await UserLedger.with { user in
                let ids = (1...8).map { "0190b0c8-6f2a-7000-8000-00000000000\($0)" }
                let events = [
                    #""job":"a","type":"queued","data":{"name":"x", "total":9}"#,
                    #""job":"a","type":"progress","data":{"completed":1}"#,
                    #""job":"a","type":"progress","data":{"completed":2}"#,
                    #""job":"a","type":"progress","data":{"completed":3},"metadata":{"actor":"ada"}"#,
                    #""job":"b","type":"queued","data":{"name":"y"},"occurred_at":"2026-01-01T00:00:00Z""#,
                    #""job":"a","type":"progress","data":{"completed":4}"#,
                    #""job":"b","type":"progress","data":{"completed":1}"#,
                    #""job":"a","type":"finished","data":{}"#,
                ]
                let sent = zip(events, ids).map { "{\($0),\"event_id\":\"\($1)\"}\n" }.joined()
                #expect(try await user.run("append", "--file", "-", input: Data(sent.utf8)).code == 0)
                let answers = ids.enumerated().map {
                    #"{"position":\#($0 + 1),"version":1,"event_id":"\#($1)","duplicate":false}"# + "\n"
                }
                let exported = try makeDirectory("lost").appending(path: "export.ndjson")
                #expect(try await user.run("export", "--out", exported.path).code == 0)
                let tailed = try await user.run("tail", "--until-head", "--json").output
                let old = try await user.ledger.epochDigits()
                try await user.ledger.lose(after: 4)
                try await user.ledger.queue("c")
                try await body(
                    user,
                    Remembered(
                        answers: answers.joined(), sent: sent, tailed: tailed, exported: exported, old: old, ids: ids))
            }
        }

        private static func states(_ outcome: Outcome) throws -> [String] {
            try outcome.jsonLines().filter { $0["what"] == "event" }.map {
                "\($0["event_id"]?.text?.suffix(1) ?? "") \($0["state"]?.text ?? "")"
            }
        }

        @Test("lost names each event of each kind of file that is gone") func names() async throws {
            try await Self.afterLoss { user, before in
                for file in [
                    before.answers, before.sent, before.tailed,
                    try String(contentsOf: before.exported, encoding: .utf8),
                ] {
                    let outcome = try await user.run("lost", "-", "--json", input: Data(file.utf8))
                    #expect(outcome.code == 1)
                    #expect(try Self.states(outcome) == ["5 gone", "6 gone", "7 gone", "8 gone"], "\(outcome)")
                    let summary = try #require(try outcome.jsonLines().last)
                    #expect(summary["what"] == "summary" && summary["compared"] == 8 && summary["there"] == 4)
                    #expect(summary["gone"] == 4 && summary["unreadable"] == 0 && summary["head"] == 5, "\(outcome)")
                }
                let text = try await user.run("lost", before.exported.path)
                #expect(
                    text.code == 1 && text.output.contains("gone: position 5, event \(before.ids[4]), job b, queued"))
                #expect(text.output.contains("has its position now") && text.output.hasSuffix(", 4 gone\n"), "\(text)")
                // What is there is not named.
                let there = try await user.run(
                    "lost", "-", input: Data(before.answers.split(separator: "\n")[..<4].joined(separator: "\n").utf8))
                #expect(there.code == 0 && there.output == "4 events compared, 4 in the log, 0 gone\n", "\(there)")
            }
        }

        @Test("lines that tell of no event are listed, and the others count") func unreadable() async throws {
            try await Self.afterLoss { user, before in
                let file = before.answers + "\u{1B}[2J\n{\"position\":9}\n\n"
                let outcome = try await user.run("lost", "-", input: Data(file.utf8))
                #expect(outcome.code == 1 && outcome.output.contains("4 gone, 2 lines not read"), "\(outcome)")
                #expect(outcome.errors.contains("standard input, line 9: ") && !outcome.errors.contains("\u{1B}"))
                let json = try await user.run("lost", "-", "--json", input: Data(file.utf8)).jsonLines()
                #expect(json.compactMap { $0["what"] == "unreadable" ? $0["line"]?.integer : nil } == [9, 10])
            }
        }

        @Test(
            "lost --append-again appends what is gone under the same ids, and nothing twice",
            arguments: ["sent", "tailed", "exported"])
        func appendsAgain(source: String) async throws {
            try await Self.afterLoss { user, before in
                let exported = try String(contentsOf: before.exported, encoding: .utf8)
                let file = ["sent": before.sent, "tailed": before.tailed, "exported": exported][source] ?? ""
                let first = try await user.run("lost", "-", "--append-again", "--json", input: Data(file.utf8))
                #expect(first.code == 0, "\(first)")
                #expect(try Self.states(first) == (5...8).map { "\($0) appended_again" }, "\(first)")
                let again = try await user.run("lost", "-", "--append-again", "--json", input: Data(file.utf8))
                #expect(try again.code == 0 && Self.states(again).isEmpty, "\(again)")
                #expect(try again.jsonLines().last?["elsewhere"] == (source == "sent" ? 0 : 4), "\(again)")
                #expect(try await user.ledger.store.head() == 9)
                // The callers' own retries find them, with the same content.
                let retried = try await user.run("append", "--file", "-", "--json", input: Data(before.sent.utf8))
                #expect(
                    try retried.json() == JSONValue(parsing: #"{"appended":0,"duplicates":8,"refused":[]}"#),
                    "\(retried)")
            }
        }

        @Test("a refusal, and an event that a file does not have as a whole, are reported one by one")
        func refusals() async throws {
            try await Self.afterLoss { user, before in
                // Of b, only what came after `queued`; of a, another end came meanwhile.
                _ = try await user.ledger.store.append(NewEvent(type: "failed", data: #"{"error":"x"}"#), to: "a")
                let lines = before.sent.split(separator: "\n")[5...].joined(separator: "\n")
                let outcome = try await user.run("lost", "-", "--append-again", "--json", input: Data(lines.utf8))
                #expect(outcome.code == 1)
                #expect(try Self.states(outcome) == ["6 refused", "7 refused", "8 refused"], "\(outcome)")
                let codes = try outcome.jsonLines().compactMap { $0["error"]?["code"]?.text }
                #expect(codes == ["already_ended", "unknown_job", "already_ended"])
                let answers = try await user.run("lost", "-", "--append-again", input: Data(before.answers.utf8))
                #expect(answers.code == 1 && answers.output.contains("the file does not have its data"), "\(answers)")
                #expect(try await user.ledger.store.head() == 6)
            }
        }

        @Test("lost says what readers had: subscriptions, the sealer, and places that are given")
        func ranges() async throws {
            try await UserLedger.with { user in
                let nothing = try await user.run("lost")
                #expect(nothing.code == 0 && nothing.output == "no loss is known; the log ends at position 0\n")
                try await user.ledger.queue("a", total: 9)
                for number in 1...7 { try await user.ledger.progress("a", number) }
                let directory = try makeDirectory("lost")
                var sealing = user
                sealing.environment["JOBLEDGER_SEAL_KEY"] = directory.appending(path: "key").path
                #expect(try await sealing.run("audit", "key", "--out", directory.appending(path: "key").path).code == 0)
                #expect(try await sealing.run("audit", "seal", "--until-head").code == 0)
                let holder = String(repeating: "x", count: 32)
                let schema = user.ledger.name
                for statement in [
                    "SELECT take_subscription('alerts', '\(holder)', '1 minute', 0)",
                    "SELECT acknowledge('alerts', '\(holder)', 7)",
                ] {
                    #expect(try await user.psql("SET search_path = \(schema); \(statement)").code == 0)
                }
                let old = try await user.ledger.epochDigits()
                try await user.ledger.lose(after: 4)
                let outcome = try await sealing.run("lost", "--had", "6.\(old)", "--had", "3.\(old)", "--json")
                #expect(outcome.code == 1)
                let ranges = try outcome.jsonLines().filter { $0["what"] == "range" }.map {
                    "\($0["reader"]?.text ?? "") \($0["from"]?.integer ?? 0)-\($0["to"]?.integer ?? 0)"
                }
                #expect(ranges == ["--had 5-6", "subscription alerts 5-7", "sealer 5-8"], "\(outcome)")
                #expect(try outcome.jsonLines().last?["known_lost"] == 4, "\(outcome)")
                let text = try await sealing.run("lost")
                #expect(text.output.contains("positions 5–8 are gone: sealer had come to 8.\(old)"), "\(text)")
                let status = try await user.run("status", "--json").json()
                #expect(status["lost_events"] == 3 && status["losses"]?.elements.count == 1, "\(status)")
                #expect(try await user.run("status").output.contains("lost        3 events"))
            }
        }

        @Test("tail --go-on says what is gone of what it has shown, and shows the rest", arguments: [true, false])
        func tail(json: Bool) async throws {
            try await UserLedger.with { user in
                try await user.ledger.queue("a", total: 50)
                for number in 1...5 { try await user.ledger.progress("a", number) }
                let options = json ? ["--json"] : []
                let tail = try await Program.jobledger.start(
                    ["tail", "--go-on"] + options, environment: user.environment)
                _ = try await tail.lines(6)
                let gone = try await user.ledger.store.pool.withConnection {
                    try await $0.query("SELECT event_id::text FROM events WHERE position > 4 ORDER BY position").map {
                        try $0.decode(0, as: String.self)
                    }
                }
                try await user.ledger.lose(after: 4)
                try await user.ledger.progress("a", 20)
                if json {
                    let lines = try await tail.lines(8).map { try JSONValue(parsing: $0) }
                    #expect(lines[6]["diverged"]?["shared"]?.text?.hasPrefix("4.") == true, "\(lines)")
                    #expect(lines[6]["gone"]?.elements.compactMap { $0["event_id"]?.text } == gone, "\(lines)")
                    #expect(lines[7]["position"] == "5" && lines[7]["data"]?["completed"] == 20, "\(lines)")
                    // What it has printed names the same events.
                    let named = try await user.run("lost", "-", "--json", input: Data(tail.output.utf8))
                    #expect(
                        try named.jsonLines().compactMap { $0["what"] == "event" ? $0["event_id"]?.text : nil } == gone,
                        "\(named)")
                } else {
                    let lines = try await tail.lines(10)
                    #expect(lines[6].contains("has lost what it had behind position 4"), "\(lines)")
                    #expect(lines[7].hasPrefix("gone: position 5, event \(gone[0]), job a, progress"), "\(lines)")
                    #expect(lines[9].hasPrefix("5  "), "\(lines)")
                }
                await tail.kill()
            }
        }

        @Test("tail without --go-on ends with what it had and what is shared") func tailEnds() async throws {
            try await UserLedger.with { user in
                try await user.ledger.queue("a", total: 50)
                try await user.ledger.progress("a", 1)
                let tail = try await user.start("tail")
                _ = try await tail.lines(2)
                try await user.ledger.lose(after: 1)
                let outcome = try await tail.end()
                #expect(outcome.code == 1 && outcome.errors.contains("to go on with the ledger's events"), "\(outcome)")
            }
        }

        @Test("audit seal --after-loss signs where the old key ended, and audit verify shows the fork")
        func fork() async throws {
            try await UserLedger.with { user in
                let directory = try makeDirectory("fork")
                func file(_ name: String) -> String { directory.appending(path: name).path }
                var user = user
                user.environment["JOBLEDGER_SEAL_KEY"] = file("old.key")
                let old = try await user.run("audit", "key", "--out", file("old.key"))
                try Data(old.output.utf8).write(to: URL(filePath: file("old.vkey")))
                try await user.ledger.queue("a", total: 50)
                for number in 1...9 { try await user.ledger.progress("a", number) }
                // What the other server has: nothing sealed.
                #expect(try await user.run("audit", "seal", "--until-head").code == 0)
                let schema = user.ledger.name
                let restored = try await user.psql(
                    """
                    ALTER TABLE \(schema).seal_checkpoints DISABLE TRIGGER ALL; DELETE FROM \(schema).seal_checkpoints;
                    ALTER TABLE \(schema).seal_checkpoints ENABLE TRIGGER ALL;
                    UPDATE \(schema).seal SET size = 0, edge = ''
                    """)
                #expect(restored.code == 0, "\(restored)")
                try await user.ledger.lose(after: 6)
                try await user.ledger.progress("a", 30)

                let stopped = try await user.run("audit", "seal", "--until-head")
                #expect(stopped.code == 1 && stopped.errors.contains("--after-loss"), "\(stopped)")
                #expect(try await user.run("audit", "key", "--out", file("new.key")).code == 0)
                user.environment["JOBLEDGER_SEAL_KEY"] = file("new.key")
                let sealed = try await user.run("audit", "seal", "--until-head", "--after-loss", file("old.key"))
                #expect(sealed.code == 0 && sealed.output == "sealed up to position 7\n", "\(sealed)")

                let verified = try await user.run("audit", "verify", "--key", file("old.vkey"), "--json")
                let answer = try verified.json()
                #expect(verified.code == 0 && answer["ok"] == true, "\(verified)")
                let fork = try #require(answer["forks"]?.elements.first)
                #expect(fork["size"] == 10 && fork["shared"] == 6 && fork["proved"] == true, "\(fork)")
                let against = try await user.run(
                    "audit", "verify", "--key", file("old.vkey"), "--against", file("old.key.signed"))
                #expect(against.code == 1 && against.output.contains("lost        positions 7–10: "), "\(against)")
                #expect(against.output.contains("no tampering was found, but a loss"), "\(against)")
                let missing = try await user.run("audit", "seal", "--until-head", "--after-loss", file("nothing"))
                #expect(missing.code == 2, "\(missing)")
            }
        }
    }
}
