import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("odd input") struct OddInputTests {
        /// Data, and the code of its refusal; `nil` if it is accepted.
        private static let data: [(name: String, data: String, code: String?)] = [
            ("U+0000", #"{"name":"x","strategy":"\u0000"}"#, "invalid_event"),
            ("half a surrogate pair", #"{"name":"x","strategy":"\ud83d"}"#, "invalid_event"),
            ("a surrogate pair", #"{"name":"\ud83d\ude42"}"#, nil),
            ("1e400000", #"{"name":"x","strategy":1e400000}"#, "invalid_event"),
            ("1e400", #"{"name":"x","strategy":1e400}"#, "invalid_event"),
            ("1e300", #"{"name":"x","strategy":1e300}"#, nil),
            ("300 digits", #"{"name":"x","strategy":\#(String(repeating: "7", count: 300))}"#, nil),
            ("5000 digits", #"{"name":"x","strategy":\#(String(repeating: "7", count: 5000))}"#, "invalid_event"),
            ("64 levels", nested(64), nil),
            ("200 levels", nested(200), "invalid_event"),
            ("100,000 levels", nested(100_000), "invalid_event"),
            ("10 MB", #"{"name":"x","strategy":"\#(String(repeating: "x", count: 10_000_000))"}"#, "too_large"),
            ("7 MB", #"{"name":"x","strategy":"\#(String(repeating: "x", count: 7_000_000))"}"#, nil),
            ("a name of 500 emoji", #"{"name":"\#(String(repeating: "🙂", count: 500))"}"#, nil),
            ("a member twice", #"{"name":"x","name":"y"}"#, nil),
            ("NaN", #"{"name":"x","strategy":NaN}"#, "invalid_event"),
            ("no object", "[]", "invalid_event"),
            ("null", "null", "invalid_event"),
            ("nothing", "", "invalid_event"),
        ]

        private static func nested(_ levels: Int) -> String {
            let arrays = levels - 1
            return #"{"name":"x","strategy":"# + String(repeating: "[", count: arrays)
                + String(repeating: "]", count: arrays)
                + "}"
        }

        @Test("as data is accepted or refused, and stops no projection") func dataByRule() async throws {
            try await UserLedger.with(projecting: true) { user in
                let file = try makeDirectory("data").appending(path: "data.json")
                for (name, data, code) in Self.data {
                    try Data(data.utf8).write(to: file)
                    let outcome = try await user.run("append", name, "queued", "--data", "@\(file.path)", "--json")
                    #expect(outcome.code == (code == nil ? 0 : 1), "\(name): \(outcome)")
                    #expect(try outcome.json()["error"]?["code"]?.text == code, "\(name): \(outcome)")
                }
                try await user.untilProjected()
                for (name, _, code) in Self.data where code == nil {
                    let shown = try await user.run("show", name)
                    #expect(shown.code == 0 && shown.output.utf8.count < 3000, "\(name): \(shown)")
                    #expect(try await user.run("show", name, "--json").json()["id"]?.text == name)
                }
                #expect(try await user.run("verify", "batch_jobs").code == 0)
            }
        }

        private static let jobs: [(job: String, isAccepted: Bool)] = [
            (String(repeating: "x", count: 255), true),
            (String(repeating: "🙂", count: 255), true),
            (String(repeating: "x", count: 256), false),
            ("", false),
            (#"it's a "job" \ with $1 and ; -- quotes"#, true),
            ("  spaces  ", true),
            ("a\nline", false),
            ("a\u{1B}[31mcolour", false),
            ("🙂 émoji 日本", true),
            ("e\u{301}", true),
            ("\u{E9}", true),
            ("a*b?[c]", true),
            ("../../etc/passwd", true),
            ("-5", true),
        ]

        @Test("as a job's id is accepted or refused, and kept unchanged") func idsByRule() async throws {
            try await UserLedger.with(projecting: true) { user in
                for (job, isAccepted) in Self.jobs {
                    let appended = try await user.run(
                        "append", "--data", #"{"name":"x"}"#, "--json", "--", job, "queued")
                    #expect(appended.code == (isAccepted ? 0 : 1), "\(job): \(appended)")
                    if !isAccepted { #expect(try appended.json()["error"]?["code"] == "invalid_event") }
                }
                try await user.untilProjected()
                for (job, isAccepted) in Self.jobs {
                    let shown = try await user.run("show", "--json", "--", job)
                    #expect(shown.code == (isAccepted ? 0 : 1), "\(job): \(shown)")
                    guard isAccepted else { continue }
                    // Compared by scalars, because Swift strings treat an é of one scalar and of
                    // two as equal, and the ledger does not.
                    #expect(
                        try shown.json()["id"]?.text?.unicodeScalars.elementsEqual(job.unicodeScalars) == true,
                        "\(shown)")
                    let history = try await user.run("history", "--json", "--", job).jsonLines()
                    #expect(history.count == 1)
                    #expect(history.first?["subject"]?.text?.unicodeScalars.elementsEqual(job.unicodeScalars) == true)
                }
            }
        }

        @Test("comes back byte for byte") func verbatim() async throws {
            try await UserLedger.with { user in
                let data = #"{"name" : "x",  "strategy":{"b":1e2, "a" : 1.0,"c":[ ],"d":-0,"e":"\u00e9\/","a":2}}"#
                let appended = try await user.run("append", "a", "queued", "--data", data)
                #expect(appended.code == 0)
                #expect(try await user.run("history", "a", "--json").output.contains(#""data":\#(data)}"#))
                let line = #"{"job":"b","type":"queued","data":\#(data)}"# + "\n"
                #expect(try await user.run("append", "--file", "-", input: Data(line.utf8)).code == 0)
                #expect(try await user.run("history", "b", "--json").output.contains(#""data":\#(data)}"#))
            }
        }
    }
}
