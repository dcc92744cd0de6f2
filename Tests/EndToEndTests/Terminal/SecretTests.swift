import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    /// Secrets in addresses and headers do not appear in errors, logs or answers.
    @Suite("secrets") struct SecretTests {
        private static let secret = "S3CR3T"

        private static let malformed = [
            "\"postgresql://u:S3CR3T@127.0.0.1:1/x\"", "'postgresql://u:S3CR3T@127.0.0.1:1/x'",
            "postgresql://u:S3CR3T@S3CR3T@127.0.0.1:1/x",
            "postgresql://u:1/S3CR3T@127.0.0.1:1/x", "postgresql://u:S3CR3T@127.0.0.1:S3CR3T/x",
            "postgresql://u:a?S3CR3T@127.0.0.1/x",
            "postgresql://u:%S3CR3T@127.0.0.1:1/x", "postgresql://u@127.0.0.1:1/x?password=S3CR3T&sslpassword=S3CR3T",
            "host=127.0.0.1 port=1 password=a S3CR3T", "host=127.0.0.1 port=1 password='S3CR3T",
            "host=127.0.0.1 port=1 password=S3CR3T",
            "postgresql://u:S3CR3T@127.0.0.1:1,127.0.0.1:1/x", "jdbc:postgresql://u:S3CR3T@127.0.0.1:1/x", "S3CR3T",
        ]

        @Test("the address of the database is not shown, even if it is malformed", arguments: malformed)
        func databaseURL(_ url: String) async throws {
            // Side by side: each of them tries for a while to reach an address that could be one.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for command in [["status"], ["append", "a", "queued", "--json"], ["migrate"], ["audit", "verify"]] {
                    group.addTask {
                        let outcome = try await Program.jobledger.run(
                            command, environment: ["DATABASE_URL": url, "JOBLEDGER_LOG_LEVEL": "trace"])
                        #expect(outcome.code != 0 && !outcome.errors.isEmpty)
                        #expect(
                            !(outcome.output + outcome.errors).contains(Self.secret),
                            "\(command): \(outcome.errors.count) bytes")
                    }
                }
                try await group.waitForAll()
            }
        }

        @Test(
            "the address of Redis is not shown",
            arguments: [
                "redis://:S3CR3T@127.0.0.1:1", "\"redis://:S3CR3T@127.0.0.1:1\"", "redis://:S3CR3T/S3CR3T@127.0.0.1:1",
                "rediss://:S3CR3T@h",
                "redis://S3CR3T@127.0.0.1:1", "redis://u:S3CR3T@127.0.0.1:S3CR3T", "unix://:S3CR3T@/none/S3CR3T@",
                "redis://:%S3CR3T@h",
                "redis://:S3CR3T@127.0.0.1:1/S3CR3T", "http://:S3CR3T@h",
            ])
        func redisURL(_ url: String) async throws {
            try await UserLedger.with { user in
                var user = user
                user.environment["REDIS_URL"] = url
                user.environment["JOBLEDGER_LOG_LEVEL"] = "trace"
                for command in [["tail", "--until-head"], ["status"], ["status", "--json"]] {
                    let outcome = try await Program.jobledger.run(command, environment: user.environment)
                    // The path of a socket may be shown.
                    let shown = (outcome.output + outcome.errors).replacing("/none/S3CR3T@", with: "")
                    #expect(!shown.contains(Self.secret), "\(command): \(outcome)")
                }
            }
        }

        @Test("the address and the authorization of an anchor are not shown") func anchor() async throws {
            let places = [
                "http://u:S3CR3T@127.0.0.1:1/x", "https://127.0.0.1:1/x?token=S3CR3T", "http://S3CR3T S3CR3T/",
                "HTTP://u:S3CR3T@127.0.0.1:1/x", "ftp://u:S3CR3T@h/", "s3://S3CR3T@bucket", "http:/u:S3CR3T@h",
                "//u:S3CR3T@h/x",
                " https://u:S3CR3T@h/", "user:S3CR3T@h/x",
            ]
            for place in places {
                try await UserLedger.with { user in
                    var user = user
                    user.environment["JOBLEDGER_ANCHOR_AUTHORIZATION"] = "Bearer S3CR3T"
                    user.environment["JOBLEDGER_LOG_LEVEL"] = "trace"
                    let outcome = try await user.run("audit", "anchor", place)
                    #expect(outcome.code > 1 && !(outcome.output + outcome.errors).contains(Self.secret), "\(outcome)")
                }
            }
        }

        @Test("an authorization that cannot be a header is refused and not shown") func authorization() async throws {
            for value in ["Bearer S3CR3T\r", "Bearer S3CR3T\nx", "Bearer \u{7F}S3CR3T"] {
                let environment = [
                    "DATABASE_URL": "postgresql://127.0.0.1:1/x", "JOBLEDGER_ANCHOR_AUTHORIZATION": value,
                ]
                let outcome = try await Program.jobledger.run(
                    ["audit", "anchor", "http://127.0.0.1:1/x"], environment: environment)
                #expect(outcome.code == 2 && outcome.errors.contains("JOBLEDGER_ANCHOR_AUTHORIZATION"), "\(outcome)")
                #expect(!(outcome.output + outcome.errors).contains(Self.secret))
            }
        }

        @Test("a key that is given in place of its path is not shown") func keyInPlaceOfAPath() async throws {
            try await UserLedger.with { user in
                let file = try makeDirectory("key").appending(path: "seal.key").path
                #expect(try await user.run("audit", "key", "--out", file).code == 0)
                let key = try String(contentsOfFile: file, encoding: .utf8).trimmingCharacters(
                    in: .whitespacesAndNewlines)
                // PRIVATE+KEY+<name>+<hash>+<base64>, and a + may be in the base64 too.
                let seed = try #require(key.split(separator: "+", maxSplits: 4).last)
                #expect(seed.count >= 44)
                let pem = "-----BEGIN PRIVATE KEY-----\n\(seed)\n-----END PRIVATE KEY-----"
                let uses: [(variable: String, value: String, command: [String])] = [
                    ("JOBLEDGER_SEAL_KEY", key, ["audit", "seal", "--until-head"]),
                    ("JOBLEDGER_SEAL_KEY", key, ["audit", "key"]),
                    ("JOBLEDGER_SEAL_KEY", String(seed), ["audit", "seal", "--until-head"]),
                    ("JOBLEDGER_SEAL_MEMORY", key, ["status"]), ("JOBLEDGER_SEAL_VERIFIER", key, ["audit", "verify"]),
                    ("JOBLEDGER_HTTP_TLS_KEY", pem, ["status"]), ("X", "", ["audit", "verify", "--key", key]),
                    ("X", "", ["audit", "anchor", file + "x", "--key", String(seed)]),
                ]
                for use in uses {
                    var environment = user.environment
                    environment[use.variable] = use.value
                    let outcome = try await Program.jobledger.run(use.command, environment: environment)
                    #expect(outcome.code == 2, "\(use.command) with \(use.variable): \(outcome.code)")
                    #expect(
                        use.variable == "X" || outcome.errors.contains(use.variable),
                        "\(use.command) with \(use.variable)")
                    #expect(!(outcome.output + outcome.errors).contains(seed), "\(use.command) with \(use.variable)")
                }
            }
        }
    }

    /// Bytes that are not UTF-8 are refused, and never replaced by other text.
    @Suite("bytes that are not UTF-8") struct NoTextTests {
        /// - Parameter command: a command of the shell, with the program in `$0`.
        private static func shell(_ command: String, _ user: UserLedger) async throws -> Outcome {
            try await Program(path: "/bin/sh").run(
                ["-c", command, Program.jobledger.path], environment: user.environment)
        }

        @Test("are refused in an argument, a variable, a file and standard input") func refused() async throws {
            try await UserLedger.with { user in
                let commands = [
                    (
                        #""$0" append "$(printf 'jos\351')" queued --data '{"name":"n"}'"#,
                        #"argument 2 is not UTF-8, and nothing was done: 'jos\xe9'"#
                    ),
                    (
                        #""$0" append a queued --actor "$(printf '\303')" --data '{"name":"n"}'"#,
                        "argument 5 is not UTF-8"
                    ),
                    (#""$0" tail --until-head --job "$(printf 'jos\351')""#, "argument 4 is not UTF-8"),
                    (#""$0" append --file "$(printf 'f\377')""#, "argument 3 is not UTF-8"),
                    (#"JOBLEDGER_SCHEMA="$(printf 'l\351')" "$0" status"#, "JOBLEDGER_SCHEMA is not UTF-8"),
                    (#"printf '{"name":"jos\351"}' | "$0" append a queued --data -"#, "standard input is not UTF-8"),
                    (#"printf '{"name":"jos\351"}' > f; "$0" append a queued --data @f"#, "f is not UTF-8"),
                ]
                for (command, text) in commands {
                    let outcome = try await Self.shell(command, user)
                    #expect(outcome.code == 2 && outcome.errors.contains(text), "\(command): \(outcome)")
                }
                let lines = #"printf '{"job":"jos\351","type":"queued","data":{"name":"n"}}\n' | "$0" append --file -"#
                let outcome = try await Self.shell(lines, user)
                #expect(
                    outcome.code == 1 && outcome.errors.contains("line 1") && outcome.errors.contains("not UTF-8"),
                    "\(outcome)")
                #expect(try await user.ledger.count() == 0)
            }
        }
    }
}
