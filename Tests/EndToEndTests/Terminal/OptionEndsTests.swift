import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    /// Extreme numbers in every option and argument that takes a number: the program reports the
    /// mistake or does what it was asked.
    @Suite("extreme numbers") struct OptionEndsTests {
        private static let ends = [
            "-9223372036854775809", "-9223372036854775808", "-1", "0", "2147483648", "4611686018427387903",
            "9223372036854775807",
            "18446744073709551616", "", "+5", "nan", "\u{0663}", "9999-12-31T23:59:59.999999Z",
            "0000-01-01T00:00:00+23:59",
        ]

        /// Commands with a `?` in place of the number. Commands that would run for ever have an
        /// additional argument that makes them fail.
        private static let commands = [
            "up --port=? --projections /no/such/folder", "serve --port=? --data-dir /no/such/folder",
            "append a progress --data {\"completed\":1} --expected-version=?",
            "append a progress --data {\"completed\":1} --occurred-at=?", "show a --at=?", "diff --from=? --to=1",
            "diff --from=0 --to=?",
            "blame a --at=?", "tail --until-head --after=?", "tail --until-head --last=?", "lost --had=?",
            "rebuild batch_jobs --dry-run --window=?",
            "rebuild batch_jobs --dry-run --workers=?", "rebuild batch_jobs --dry-run --max-lag=?",
            "rebuild batch_jobs --until=? --into My_Past", "verify daily_job_stats --window=?", "receipts --limit=?",
            "audit events --from=?", "audit events --to=?", "audit events --after=?", "audit events --oldest --after=?",
            "audit events --limit=?", "audit why ?", "audit refusals --after=?", "audit refusals --limit=?",
            "audit verify --from=?",
            "audit verify --to=?", "audit prove ?", "audit consistency --from=?",
            "audit anchor /no/such/folder/c --data-dir /no/such/folder --every=?",
            "project --projections /no/such/folder --window=?", "project --projections /no/such/folder --audit=?",
            "project --skip batch_jobs --reason r --position=?", "export --from=?", "export --to=?",
            "bench subscriber relay --events=?",
        ]
        /// Commands that would start a long benchmark with a valid number. They get only invalid
        /// ones.
        private static let benches = [
            "bench rows --rounds=?", "bench growth --rounds=?", "bench memory --rounds=?", "bench memory --events=?",
            "bench growth --sizes=?",
        ]

        @Test("crash no option") func ends() async throws {
            try await UserLedger.with(projecting: true) { user in
                for (type, data) in [("queued", #"{"name":"n"}"#), ("progress", #"{"completed":1}"#)] {
                    #expect(try await user.run("append", "a", type, "--data", data).code == 0)
                }
                try await user.untilProjected()
                for command in Self.commands {
                    for end in Self.ends { try await check(command, end, user.environment) }
                }
                for command in Self.benches {
                    for end in [
                        "-9223372036854775808", "-1", "0", "9223372036854775807", "18446744073709551616", "", "nan",
                    ] {
                        try await check(command, end, user.environment)
                    }
                }
            }
        }

        private func check(_ command: String, _ end: String, _ environment: [String: String]) async throws {
            let arguments = command.split(separator: " ").map { String($0).replacing("?", with: end) }
            let outcome = try await Program.jobledger.run(arguments, environment: environment)
            let what = "\(arguments): \(outcome)"
            #expect((0...2).contains(outcome.code), "\(what)")
            #expect(outcome.code == 0 || !outcome.errors.isEmpty || !outcome.output.isEmpty, "\(what)")
            // These would be errors of Postgres about a number that the program let through.
            #expect(!outcome.errors.contains("out of range") && !outcome.errors.contains("beyond ±"), "\(what)")
        }

        /// This fails if a new option that takes a number is not in the list.
        @Test("are tried with each option that takes a number") func complete() async throws {
            let help = try await Program.jobledger.run(["--experimental-dump-help"]).json()
            let numbers: Set<String> = [
                "port", "n|none|any", "occurred-at", "position|time", "after", "last", "window", "workers", "max-lag",
                "limit", "position", "number", "file|size", "seconds", "rate", "rounds", "sizes", "events", "event",
            ]
            var count = 0
            func walk(_ command: JSONValue, _ path: [String]) {
                for argument in command["arguments"]?.elements ?? [] where argument["kind"] != "flag" {
                    guard let name = argument["valueName"]?.text, numbers.contains(name), path != ["audit", "check"]
                    else {
                        continue
                    }
                    let option = argument["names"]?.elements.first?["name"]?.text
                    let words = path.joined(separator: " ") + " "
                    #expect(
                        (Self.commands + Self.benches).contains {
                            $0.hasPrefix(words) && $0.contains(option.map { "--\($0)=?" } ?? " ?")
                        },
                        "\(words)\(option ?? name)")
                    count += 1
                }
                for command in command["subcommands"]?.elements ?? [] {
                    if let name = command["commandName"]?.text { walk(command, path + [name]) }
                }
            }
            if let command = help["command"] { walk(command, []) }
            #expect(count > 30)
        }
    }
}
