import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("exit code") struct ExitCodeTests {
        private static let nowhere = [
            "DATABASE_URL": "postgresql://127.0.0.1:1/nowhere", "REDIS_URL": "redis://127.0.0.1:1",
        ]

        static let misuse: [(arguments: [String], environment: [String: String], says: String)] = [
            (["status", "--colour"], nowhere, "--colour"),
            (["paint"], nowhere, "paint"),
            (["append"], nowhere, "Give a JOB and a TYPE, or --file."),
            (["append", "a"], nowhere, "Give a JOB and a TYPE, or --file."),
            (["append", "a", "queued", "--file", "x"], nowhere, "give no JOB"),
            (["append", "--file", "x", "--actor", "ada"], nowhere, "each line says everything"),
            (["append", "--file", "/no/such/file"], nowhere, "/no/such/file cannot be read"),
            (["append", "--file", "/tmp"], nowhere, "/tmp cannot be read"),
            (["append", "a", "queued", "--data", "@/no/such/file"], nowhere, "/no/such/file cannot be read"),
            (["append", "a", "queued", "--event-id", "7"], nowhere, "--event-id must be a UUID"),
            (["append", "a", "queued", "--expected-version", "-1"], nowhere, "--expected-version"),
            (["append", "a", "queued", "--expected-version=x"], nowhere, "--expected-version must be a number"),
            (["append", "a", "queued", "--occurred-at", "yesterday"], nowhere, "--occurred-at must be a time"),
            (["tail", "--type", "paused"], nowhere, "--type paused"),
            (["tail", "--category", "job", "--type", "paused"], nowhere, "--type paused"),
            (["tail", "--category", "user", "--type", "Paused"], nowhere, "--type must be the name of a type"),
            (["tail", "--category", "User"], nowhere, "--category must be the name of a category"),
            (["history", "--category", "a.b", "a"], nowhere, "--category must be the name of a category"),
            (["audit", "events", "--category", "user", "--text", "ada"], nowhere, "words in events of jobs only"),
            (["audit", "events", "--type", "registered"], nowhere, "--type registered"),
            (["audit", "job", "--category", "User", "a"], nowhere, "--category must be the name of a category"),
            (["audit", "prove", "1", "--category", "user"], nowhere, "--category goes with --job"),
            (["append", "--category", "", "a", "queued"], nowhere, "--category must be the name of a category"),
            (["append", "--file", "x", "--category", "user"], nowhere, "each line says everything"),
            (["tail", "--after", "1", "--last", "1"], nowhere, "not both"),
            (["tail", "--after=-1"], nowhere, "--after must be an integer from 0"),
            (["lost", "--append-again"], nowhere, "--append-again needs FILE"),
            (["lost", "--had", "7"], nowhere, "names no epoch"),
            (["lost", "-", "-"], nowhere, "can be read once"),
            (["lost", "/no/such/file"], nowhere, "/no/such/file cannot be read"),
            (["show", "a", "--at", "noon"], nowhere, "--at must be"),
            (["diff", "--from", "1", "--to", "noon"], nowhere, "--to must be"),
            (["diff", "--from", "1"], nowhere, "--to"),
            (["blame"], nowhere, "<id>"),
            (["blame", "a", "--at=-1"], nowhere, "--at must be"),
            (["export", "--json"], nowhere, "--json needs --out"),
            (["export", "--from", "soon"], nowhere, "--from must be"),
            (["import"], nowhere, "<file>"),
            (["rebuild", "batch_jobs", "--until", "1"], nowhere, "--until and --into go together"),
            (["rebuild", "batch_jobs", "--until", "1", "--into", "My Past"], nowhere, "--into My Past"),
            (["projections", "new", "My Projection"], nowhere, "a projection's name has"),
            (["projections", "check", "paintings"], nowhere, "batch_job_runs, batch_jobs"),
            (["categories", "new", "My Category"], nowhere, "a category's name has"),
            (["categories", "new", "job"], nowhere, "take another name"),
            (["categories", "check", "paintings"], nowhere, "backtest, job, strategy, user"),
            (["categories", "test", "--categories", "/no/such/folder"], nowhere, "/no/such/folder: no such folder"),
            (["migrate", "--categories", "/no/such/folder"], nowhere, "/no/such/folder: no such folder"),
            (["rebuild", "paintings"], nowhere, "batch_job_runs, batch_jobs"),
            (["rebuild", "batch_jobs", "--window", "0"], nowhere, "--window must be an integer from 1 to 1000000"),
            (["project", "--projections", "/no/such/folder"], nowhere, "/no/such/folder: no such folder"),
            (["status"], [:], "DATABASE_URL is not set"),
            (["status"], ["DATABASE_URL": ""], "DATABASE_URL is not set"),
            (["relay"], ["DATABASE_URL": "postgresql://127.0.0.1:1/x"], "REDIS_URL is not set"),
            (["relay"], nowhere.merging(["REDIS_URL": "rediss://127.0.0.1"]) { $1 }, "REDIS_URL: "),
            (["tail"], nowhere.merging(["REDIS_URL": "http://127.0.0.1"]) { $1 }, "REDIS_URL: "),
            (
                ["status"], nowhere.merging(["JOBLEDGER_WINDOW": "many"]) { $1 },
                "JOBLEDGER_WINDOW, in the environment, must be"
            ),
            (["status"], nowhere.merging(["JOBLEDGER_WINDOW": "0"]) { $1 }, "from 1 to 1000000"),
            (
                ["status"], nowhere.merging(["JOBLEDGER_SCHEMA": "My Ledger"]) { $1 },
                "JOBLEDGER_SCHEMA, in the environment, must have"
            ),
            (["serve", "--port", "65536"], nowhere, "--port must be an integer from 0 to 65535"),
            (["serve", "--host", "0.0.0.0", "--no-auth"], nowhere, "loopback"),
            (
                ["serve"], nowhere.merging(["JOBLEDGER_HTTP_IDLE_SECONDS": "soon"]) { $1 },
                "JOBLEDGER_HTTP_IDLE_SECONDS, in the environment, must be"
            ),
            (["token", "create", "--scope", "write"], nowhere, "append, read, admin"),
            (
                ["status"], nowhere.merging(["JOBLEDGER_LOG_LEVEL": "loud"]) { $1 },
                "JOBLEDGER_LOG_LEVEL, in the environment, must be"
            ),
            (
                ["status"], nowhere.merging(["JOBLEDGER_LONGEST_HOLD": "+5"]) { $1 },
                "JOBLEDGER_LONGEST_HOLD, in the environment, must be"
            ),
            (["status"], ["DATABASE_URL": "jdbc:postgresql://127.0.0.1/x"], "the connection string cannot be used"),
            (["serve"], ["DATABASE_URL": "host=127.0.0.1 port=x"], "its port is not a number"),
            (["status"], ["DATABASE_URL": "postgresql://127.0.0.1:1/x?sslmode=often"], "invalid sslmode"),
            (["audit", "anchor", "ftp://archive.example/x"], nowhere, "https://archive.example/ledger/checkpoint"),
            (["export", "--out", ""], nowhere, "--out"), (["export", "--out", "/tmp"], nowhere, "/tmp"),
        ]

        @Test("2 means a mistake of usage, and the message says which") func usage() async throws {
            for (arguments, environment, text) in Self.misuse {
                let outcome = try await Program.jobledger.run(arguments, environment: environment)
                #expect(outcome.code == 2, "\(arguments): \(outcome)")
                #expect(outcome.output == "", "\(arguments): \(outcome)")
                #expect(outcome.errors.contains(text), "\(arguments): \(outcome)")
            }
        }

        @Test("3 means no connection") func noConnection() async throws {
            let url = try await TestServers.shared.postgresURL().replacing("/jobledger", with: "/nowhere")
            let commands = [
                ["status"], ["append", "a", "queued"], ["tail"], ["serve", "--port", "0"], ["token", "list"],
                ["show", "a"], ["history", "a"], ["migrate"], ["rebuild", "batch_jobs"], ["categories", "list"],
            ]
            try await withThrowingTaskGroup(of: Void.self) { group in
                for command in commands {
                    group.addTask {
                        let outcome = try await Program.jobledger.run(command, environment: ["DATABASE_URL": url])
                        #expect(outcome.code == 3, "\(command): \(outcome)")
                        #expect(outcome.output == "")
                        #expect(outcome.errors.contains("cannot connect to Postgres"), "\(command): \(outcome)")
                    }
                }
                try await group.waitForAll()
            }
        }

        @Test("3 means an archive that does not answer, and the message names it") func noArchive() async throws {
            try await UserLedger.with { user in
                let outcome = try await user.run("audit", "anchor", "HTTP://127.0.0.1:1/kept?token=S3CR3T")
                #expect(
                    outcome.code == 3 && outcome.errors.contains("http://127.0.0.1:1/kept does not answer GET"),
                    "\(outcome)")
                #expect(outcome.errors.contains("Connection refused"), "\(outcome)")
            }
        }

        @Test("3 comes within seconds if nobody listens") func refusedConnection() async throws {
            async let status = Program.jobledger.run(["status"], environment: Self.nowhere, within: .seconds(180))
            async let append = Program.jobledger.run(
                ["append", "a", "queued"], environment: Self.nowhere, within: .seconds(180))
            for outcome in try await [status, append] {
                #expect(outcome.code == 3)
                #expect(outcome.errors.contains("cannot connect to Postgres"), "\(outcome)")
            }
        }

        /// The words of every command that users see, as the parser itself lists them: `audit` and
        /// `audit prove`, say. The first has no words: it is `jobledger` alone.
        private static func commands() async throws -> [[String]] {
            let help = try await Program.jobledger.run(["--experimental-dump-help"]).json()
            func walk(_ command: JSONValue, _ path: [String]) -> [[String]] {
                var all = [path]
                for command in command["subcommands"]?.elements ?? [] where command["shouldDisplay"] == true {
                    // The parser's own command, which is the same as --help.
                    guard let name = command["commandName"]?.text, name != "help" else { continue }
                    all += walk(command, path + [name])
                }
                return all
            }
            let all = walk(try #require(help["command"]), [])
            #expect(all.count > 40)
            return all
        }

        @Test("0 means help, which has an example") func help() async throws {
            let commands = try await Self.commands()
            let all = try await Program.jobledger.run(["--help"]).output
            for command in commands where command.count == 1 { #expect(all.contains(command[0])) }
            for words in commands {
                let outcome = try await Program.jobledger.run(words + ["--help"])
                #expect(outcome.code == 0)
                let command = words.joined(separator: " ")
                let example =
                    outcome.output.split(separator: "EXAMPLE\n").dropFirst().first?.split(separator: "\n\n").first ?? ""
                #expect(example.contains("jobledger \(command)"), "\(command): \(outcome)")
                // All commands are indented. A line that is not is the rest of a command that was
                // wrapped.
                #expect(example.split(separator: "\n").allSatisfy { $0.hasPrefix("  ") }, "\(command): \(example)")
            }
        }

        @Test("2 means an unknown option, whatever the command") func unknownOption() async throws {
            for words in try await Self.commands() {
                let outcome = try await Program.jobledger.run(words + ["--colour"], environment: Self.nowhere)
                #expect(outcome.code == 2 && outcome.output == "", "\(words): \(outcome)")
                #expect(outcome.errors.contains("Usage: jobledger"), "\(words): \(outcome)")
            }
        }

        @Test(
            "a .env of any editor works, and a misspelled setting is an error",
            arguments: [
                ("# the ledger\r\nexport JOBLEDGER_SCHEMA=SCHEMA\r\n", nil),
                ("\u{FEFF}JOBLEDGER_SCHEMA=SCHEMA # ours\n", nil),
                ("JOBLEDGER_SCHEMA='SCHEMA'", nil), ("  JOBLEDGER_SCHEMA=\"SCHEMA\"\t\n", nil),
                ("JOBLEDGER_SHEMA=SCHEMA\n", "is JOBLEDGER_SCHEMA meant?"),
                ("x\nJOBLEDGER_SCHEMA=SCHEMA\n", ".env, line 1: "),
                ("JOBLEDGER_SCHEMA = SCHEMA\n", ".env, line 1: "),
                ("JOBLEDGER_SCHEMA=SCHEMA\nJOBLEDGER_SCHEMA=b", ".env, line 2: "),
                ("JOBLEDGER_SCHEMA=$SCHEMA\n", ".env, line 1: "), ("JOBLEDGER_SCHEMA=SCHEMA\u{0}\n", ".env, line 1: "),
            ] as [(String, String?)])
        func everySettingCounts(text: String, refusal: String?) async throws {
            try await UserLedger.with { user in
                let here = try makeDirectory("here")
                try Data(
                    text.replacing("SCHEMA=SCHEMA", with: "SCHEMA=\(user.ledger.name)")
                        .replacing("'SCHEMA'", with: "'\(user.ledger.name)'").replacing(
                            "\"SCHEMA\"", with: "\"\(user.ledger.name)\""
                        ).utf8
                ).write(to: here.appending(path: ".env"))
                let outcome = try await Program.jobledger.run(
                    ["append", "job", "queued", "--data", #"{"name":"x"}"#],
                    environment: ["DATABASE_URL": user.ledger.url],
                    directory: here)
                if let refusal {
                    #expect(outcome.code == 2 && outcome.errors.contains(refusal), "\(outcome)")
                    #expect(try await user.ledger.count() == 0)
                } else {
                    #expect(outcome.code == 0, "\(outcome)")
                    #expect(try await user.ledger.count() == 1)
                }
            }
        }

        @Test("an unreadable .env is an error, and so is an unknown name in the environment")
        func unreadable() async throws {
            let here = try makeDirectory("here")
            try FileManager.default.createDirectory(at: here.appending(path: ".env"), withIntermediateDirectories: true)
            let directory = try await Program.jobledger.run(["status"], directory: here)
            #expect(directory.code == 2 && directory.errors.contains(".env cannot be read"), "\(directory)")
            let unknown = try await Program.jobledger.run(["status"], environment: ["JOBLEDGER_SCHEMAS": "x"])
            #expect(unknown.code == 2 && unknown.errors.contains("is JOBLEDGER_SCHEMA meant?"), "\(unknown)")
        }

        @Test("settings come from .env if the environment does not have them") func dotEnv() async throws {
            try await UserLedger.with { user in
                let here = try makeDirectory("here")
                try Data("DATABASE_URL=\(user.ledger.url)\nJOBLEDGER_SCHEMA=\(user.ledger.name)\n".utf8).write(
                    to: here.appending(path: ".env"))
                #expect(try await Program.jobledger.run(["status"], directory: here).code == 0)
                let other = try await Program.jobledger.run(
                    ["status"], environment: ["JOBLEDGER_SCHEMA": "elsewhere"], directory: here)
                #expect(other.code == 1)
            }
        }
    }
}
