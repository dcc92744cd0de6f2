import Foundation
import LedgerTesting
import Testing
import Texts

extension EndToEnd {
    /// The program works even if its messages cannot be written.
    @Suite("standard streams") struct StandardStreamTests {
        private static func shell(_ command: String, _ user: UserLedger, in directory: URL? = nil) async throws
            -> Outcome
        {
            try await Program(path: "/bin/sh").run(
                ["-c", command, Program.jobledger.path], environment: user.environment, directory: directory)
        }

        private static let lost = ["2>&-", "2>/dev/full", "2> >(true)"]

        @Test("a standard error that cannot be written changes no answer", arguments: lost)
        func lostErrors(_ lost: String) async throws {
            try await UserLedger.with { user in
                func run(_ arguments: String) async throws -> Outcome {
                    try await Program(path: "/bin/bash").run(
                        ["-c", "\"$0\" \(arguments) \(lost)", Program.jobledger.path], environment: user.environment)
                }
                #expect(try await run("append nobody progress").code == 1)
                #expect(try await run("status --colour").code == 2)
                // No connection may get the number of the closed stream, or messages would be sent
                // to a server.
                let lines =
                    #"append --file <(printf '{"job":"a","type":"queued","data":{"name":"n"}}\nx\n"#
                    + #"{"job":"a","type":"failed","data":{"error":"e"}}\n')"#
                let file = try await run(lines)
                #expect(file.code == 1 && file.output == "2 appended, 0 duplicates, 1 refused\n", "\(file)")
                #expect(try await user.ledger.count() == 2)
            }
        }

        @Test("up starts and stops even if its log cannot be written") func up() async throws {
            try await UserLedger.with { user in
                var user = user
                user.environment = ["JOBLEDGER_LOG_LEVEL": "debug"]
                let outcome = try await Self.shell(
                    #"""
                    "$0" up --data-dir d --port 0 2>/dev/full & up=$!
                    until [ -e d/ready ]; do kill -0 $up || exit 9; sleep 0.1; done
                    "$0" append a queued --data '{"name":"n"}' --data-dir d || exit 8
                    kill -TERM $up; wait $up; echo "ended with $?"
                    """#, user, in: try makeDirectory("full"))
                #expect(outcome.code == 0 && outcome.output.hasSuffix("ended with 0\n"), "\(outcome)")
            }
        }

        @Test("a standard output that cannot be written is an error, and a closed input does not crash the program")
        func others() async throws {
            try await UserLedger.with { user in
                for command in [
                    #""$0" status >&-"#, #""$0" status >/dev/full"#, #""$0" --help >/dev/full"#,
                    #""$0" append --file - <&-"#, #""$0" append --file - </tmp"#, #""$0" import /tmp"#,
                ] {
                    let outcome = try await Self.shell(command, user)
                    #expect(outcome.code == 1 || outcome.code == 2, "\(command): \(outcome)")
                    #expect(!outcome.errors.contains("Error Domain"), "\(command): \(outcome)")
                }
                // The event is in the log, and the message says that only the answer is lost.
                for closed in [">&-", ">/dev/full"] {
                    let lost = try await Self.shell(
                        #""$0" append a\#(closed.count) queued --data '{"name":"n"}' \#(closed)"#, user)
                    #expect(lost.code == 1 && lost.errors.contains("standard output cannot be written"), "\(lost)")
                }
                #expect(try await user.ledger.count() == 2)
                let check = try await Self.shell(#"printf 'x' > k; "$0" audit check - --key k <&-"#, user)
                #expect(check.code == 2, "\(check)")
            }
        }

        /// Control characters in every argument and line that messages repeat.
        @Test("control characters reach no terminal") func controlCharacters() async throws {
            try await UserLedger.with { user in
                let bad = "\u{1B}[31m\u{9B}32m\u{202E}\r"
                let commands = [
                    ["audit", "why", bad], ["append", "--file", bad], ["append", "a", "queued", "--data", "@\(bad)"],
                    ["append", bad, "queued"], ["append", "a", bad], ["append", "a", "queued", "--event-id", bad],
                    ["append", "a", "queued", "--expected-version", bad],
                    ["append", "a", "queued", "--occurred-at", bad],
                    ["append", "a", "queued", "--data", "{\(bad)"], ["show", "a", "--at", bad], ["verify", bad],
                    ["project", bad],
                    ["tail", "--type", bad], ["token", "create", "--scope", bad],
                    ["serve", "--no-auth", "--host", bad],
                    ["rebuild", "batch_jobs", "--until", "1", "--into", bad], ["audit", "anchor", bad],
                    ["audit", "check", bad],
                    ["export", "--out", "/no/\(bad)"], ["audit", "prove", bad], [bad], ["status", bad],
                ]
                for command in commands {
                    let outcome = try await Program.jobledger.run(command, environment: user.environment)
                    #expect(outcome.code != 0, "\(command): \(outcome)")
                    let shown = (outcome.output + outcome.errors).unicodeScalars
                    #expect(!shown.contains { $0 != "\n" && "\($0)".printable != "\($0)" }, "\(command)")
                }
                let lines = [
                    #"{"job":"a","type":"queued","\u001b[31m":1}"#,
                    #"{"job":"a","type":"queued","occurred_at":"\u001b[31m"}"#,
                    #"{"job":"a","type":"queued","event_id":"\u009b31m\nline 7: forged"}"#,
                    #"{"job":"a","type":"queued","data":{"name":"n","total":"\u009b31m"}}"#, "\u{1B}[31m",
                ]
                let outcome = try await user.run(
                    "append", "--file", "-", input: Data(lines.joined(separator: "\n").utf8))
                #expect(outcome.code == 1 && outcome.errors.split(separator: "\n").count == lines.count, "\(outcome)")
                #expect(
                    !outcome.errors.unicodeScalars.contains { $0 != "\n" && "\($0)".printable != "\($0)" }, "\(outcome)"
                )
            }
        }
    }
}
