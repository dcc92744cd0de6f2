import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    /// What is in an address, or in an authorization, is in no error, no log and no answer.
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

        @Test("a database's address is not shown, however odd it is", arguments: malformed)
        func databaseURL(_ url: String) async throws {
            for command in [["status"], ["append", "a", "queued", "--json"], ["migrate"], ["audit", "verify"]] {
                let outcome = try await Program.jobledger.run(
                    command, environment: ["DATABASE_URL": url, "JOBLEDGER_LOG_LEVEL": "trace"])
                #expect(outcome.code != 0 && !outcome.errors.isEmpty)
                #expect(!(outcome.output + outcome.errors).contains(Self.secret), "\(command): \(outcome.errors.count) bytes")
            }
        }

        @Test(
            "nor is that of a Redis",
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
                    // The path of a socket is no secret.
                    let shown = (outcome.output + outcome.errors).replacing("/none/S3CR3T@", with: "")
                    #expect(!shown.contains(Self.secret), "\(command): \(outcome)")
                }
            }
        }

        @Test("nor is an anchor's address, or what authorizes") func anchor() async throws {
            for place in ["http://u:S3CR3T@127.0.0.1:1/x", "https://127.0.0.1:1/x?token=S3CR3T", "http://S3CR3T S3CR3T/"] {
                try await UserLedger.with { user in
                    var user = user
                    user.environment["JOBLEDGER_ANCHOR_AUTHORIZATION"] = "Bearer S3CR3T"
                    user.environment["JOBLEDGER_LOG_LEVEL"] = "trace"
                    let outcome = try await user.run("audit", "anchor", place)
                    #expect(outcome.code != 0 && !(outcome.output + outcome.errors).contains(Self.secret), "\(outcome)")
                }
            }
        }
    }

    /// Bytes that are no text are refused: nothing is stored in their place.
    @Suite("what is no text") struct NoTextTests {
        /// - Parameter command: of a shell, with the program in `$0`.
        private static func shell(_ command: String, _ user: UserLedger) async throws -> Outcome {
            try await Program(path: "/bin/sh").run(["-c", command, Program.jobledger.path], environment: user.environment)
        }

        @Test("as an argument, a variable, a file or standard input") func refused() async throws {
            try await UserLedger.with { user in
                let commands = [
                    (
                        #""$0" append "$(printf 'jos\351')" queued --data '{"name":"n"}'"#,
                        #"argument 2 is not UTF-8, and nothing was done: 'jos\xe9'"#
                    ),
                    (#""$0" append a queued --actor "$(printf '\303')" --data '{"name":"n"}'"#, "argument 5 is not UTF-8"),
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
                    outcome.code == 1 && outcome.errors.contains("line 1") && outcome.errors.contains("not UTF-8"), "\(outcome)")
                #expect(try await user.ledger.count() == 0)
            }
        }
    }
}
