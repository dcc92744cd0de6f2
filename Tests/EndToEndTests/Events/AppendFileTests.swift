import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("append --file") struct AppendFileTests {
        private static let id = "0190b0c8-6f2a-7000-8000-0000000000f1"

        private static func lines(_ lines: [String], end: String = "\n") -> Data {
            Data((lines.joined(separator: "\n") + end).utf8)
        }

        /// Every kind of line. The comments are line numbers.
        private static var mixed: Data {
            let tooLong = String(repeating: "x", count: 10 << 20)
            var file = lines([
                #"{"job":"a","type":"queued","data":{"name":"x","total":3}}"# + "\r",  // 1
                "",  // 2
                #"{"job":"a","type":"#,  // 3
                #"{"job":"a","type":"progress","data":{"completed":1},"colour":"red"}"#,  // 4
            ])
            file +=
                Data(#"{"job":"a","type":"progress","data":{"completed":1,"message":""#.utf8) + Data([0xFF, 0xFE])
                + Data("\"}}\n".utf8)  // 5
            let withID =
                #"{"job":"a","type":"progress","data":{"completed":1},"event_id":"\#(id)","#
                + #""metadata":{"actor":"ada"}}"#
            file += lines(
                [
                    withID,  // 6
                    withID,  // 7
                    " \t\r",  // 8
                    #"{"job":"nobody","type":"progress","data":{"completed":1}}"#,  // 9
                    #"{"job":"a","type":"progress","data":{"message":"\#(tooLong)"}}"#,  // 10
                    "[]",  // 11
                    #"{"type":"progress","data":{"completed":1}}"#,  // 12
                    #"{"job":"a","type":"progress","data":{"completed":1},"event_id":"7"}"#,  // 13
                    #"{"job":"b\u0000","type":"queued","data":{"name":"x"}}"#,  // 14
                    #"{"job":"a","type":"finished","data":{},"expected_version":2,"#
                        + #""occurred_at":"2026-11-23T20:45:00Z"}"#,  // 15
                    #"{"job":"a","type":"progress","data":{"completed":1}}"#,  // 16
                ], end: "")
            return file
        }

        private static let refused: [JSONValue] = [
            "3 invalid_event", "4 invalid_event", "5 invalid_event", "9 unknown_job", "10 too_large",
            "11 invalid_event", "12 invalid_event", "13 invalid_event", "14 invalid_event", "16 already_ended",
        ]

        @Test("appends the good lines and lists the others", arguments: [true, false])
        func mixture(fromStandardInput: Bool) async throws {
            try await UserLedger.with { user in
                let file = try makeDirectory("lines").appending(path: "events.ndjson")
                try Self.mixed.write(to: file)
                let outcome = try await user.run(
                    "append", "--file", fromStandardInput ? "-" : file.path, "--json",
                    input: fromStandardInput ? Self.mixed : Data())
                #expect(outcome.code == 1)
                let answer = try outcome.json()
                #expect(answer["appended"] == 3)
                #expect(answer["duplicates"] == 1)
                let refused = answer["refused"]?.elements.map {
                    "\($0["line"]?.integer ?? 0) \($0["code"]?.text ?? "")"
                }
                #expect(refused == Self.refused.compactMap(\.text), "\(outcome)")
                #expect(answer["refused"]?.elements.allSatisfy { $0["message"]?.text?.isEmpty == false } == true)
                let types = try await user.run("history", "a", "--json").jsonLines().compactMap { $0["type"]?.text }
                #expect(types == ["queued", "progress", "finished"].map { "io.jobledger.job.\($0)" })
            }
        }

        @Test("shows the line and the reason to people") func messages() async throws {
            try await UserLedger.with { user in
                let outcome = try await user.run("append", "--file", "-", input: Self.mixed)
                #expect(outcome.code == 1)
                #expect(outcome.output == "3 appended, 1 duplicates, 10 refused\n")
                #expect(
                    outcome.errors.contains("line 9: refused: unknown_job: job \"nobody\" has no events"), "\(outcome)")
            }
        }

        @Test("refuses a member that is given twice") func repeatedMembers() async throws {
            try await UserLedger.with { user in
                let lines = [
                    #"{"job":"a","job":"b","type":"queued","data":{"name":"x"}}"#,
                    #"{"job":"a","type":"queued","data":{"name":"x"},"j\u006fb":"b"}"#,
                    #"{"job":"a","type":"queued","data":{"name":"x"},"data":{"name":"x"}}"#,
                    #"{"job":"a","type":"queued","data":{"name":"x"},"event_id":null,"event_id":"\#(Self.id)"}"#,
                    #"{"job":"a","type":"queued","data":{"name":"x","name":"y"}}"#,
                ]
                let outcome = try await user.run("append", "--file", "-", input: Self.lines(lines))
                #expect(outcome.code == 1 && outcome.output == "1 appended, 0 duplicates, 4 refused\n", "\(outcome)")
                for (line, name) in [(1, "job"), (2, "job"), (3, "data"), (4, "event_id")] {
                    #expect(
                        outcome.errors.contains("line \(line): refused: invalid_event: \"\(name)\" is given twice"),
                        "\(outcome)")
                }
            }
        }

        /// A different event id for each number.
        private static func eventID(_ number: Int) -> String {
            "0190b0c8-6f2a-7000-8000-" + String(repeating: "0", count: 12 - String(number).count) + "\(number)"
        }

        @Test("of more than one batch, sent again, changes nothing") func retry() async throws {
            try await UserLedger.with { user in
                let events = (0..<2500).map { number in
                    #"{"job":"job \#(number)","type":"queued","data":{"name":"x"},"#
                        + #""event_id":"\#(Self.eventID(number))"}"#
                }
                let first = try await user.run("append", "--file", "-", "--json", input: Self.lines(events))
                #expect(first.code == 0)
                #expect(try first.json() == JSONValue(parsing: #"{"appended":2500,"duplicates":0,"refused":[]}"#))
                let again = try await user.run("append", "--file", "-", "--json", input: Self.lines(events))
                #expect(again.code == 0)
                #expect(try again.json() == JSONValue(parsing: #"{"appended":0,"duplicates":2500,"refused":[]}"#))
                #expect(try await user.ledger.store.head() == 2500)
            }
        }

        /// Killed while batches are being written: what was committed stays, the rest leaves no
        /// trace, and the next run appends it.
        @Test("continues after it was killed") func killed() async throws {
            try await UserLedger.with { user in
                let count = 60_000
                let events = (0..<count).map { number in
                    let id = Self.eventID(number)
                    return number == 0
                        ? #"{"job":"a","type":"queued","data":{"name":"x"},"event_id":"\#(id)"}"#
                        : #"{"job":"a","type":"progress","data":{"completed":\#(number)},"event_id":"\#(id)"}"#
                }
                let file = try makeDirectory("killed").appending(path: "events.ndjson")
                try Self.lines(events).write(to: file)
                try await user.running("append", "--file", file.path) { _ in
                    try await until("some of it is in the log") { try await user.ledger.store.head() >= 5_000 }
                }
                let again = try await user.run("append", "--file", file.path, "--json")
                #expect(again.code == 0, "\(again)")
                let answer = try again.json()
                let (appended, duplicates) = (answer["appended"]?.integer ?? 0, answer["duplicates"]?.integer ?? 0)
                #expect(appended + duplicates == count && duplicates >= 5_000 && appended > 0, "\(answer)")
                // Every line was appended once and in the order of the file: its number is the
                // position, the version and the reported progress.
                let astray = try await user.psql(
                    """
                    SELECT count(*) FROM \(user.ledger.name.text).events
                    WHERE position <> version OR completed <> position - 1
                    """)
                #expect(astray.output == "0\n", "\(astray)")
                #expect(try await user.ledger.store.head() == Position(count))
            }
        }

        @Test("of nothing appends nothing") func empty() async throws {
            try await UserLedger.with { user in
                let outcome = try await user.run("append", "--file", "-", "--json")
                #expect(outcome.code == 0)
                #expect(try outcome.json()["appended"] == 0)
            }
        }
    }
}
