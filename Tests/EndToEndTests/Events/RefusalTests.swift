import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("append refuses") struct RefusalTests {
        static let taken = "0190b0c8-6f2a-7000-8000-000000000001"
        private static let large: URL = {
            let file = TestServers.directory("large.json")
            try? FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try? Data(#"{"completed":1,"message":"\#(String(repeating: "x", count: 9 << 20))"}"#.utf8).write(to: file)
            return file
        }()

        static let refusals: [(code: String, arguments: [String])] = [
            ("unknown_job", ["nobody", "progress", "--data", #"{"completed":1}"#]),
            ("already_queued", ["open", "queued", "--data", #"{"name":"again"}"#]),
            ("already_ended", ["ended", "progress", "--data", #"{"completed":1}"#]),
            ("version_conflict", ["open", "progress", "--data", #"{"completed":1}"#, "--expected-version", "7"]),
            ("version_conflict", ["open", "progress", "--data", #"{"completed":1}"#, "--expected-version", "none"]),
            ("event_id_conflict", ["open", "progress", "--data", #"{"completed":1}"#, "--event-id", taken]),
            ("invalid_event", ["open", "progress", "--data", #"{"completed":6}"#]),
            ("invalid_event", ["open", "paused"]),
            ("invalid_event", ["open", "progress", "--data", "{broken"]),
            ("too_large", ["open", "progress", "--data", "@\(large.path)"]),
        ]

        @Test("with a code, exit 1, and nothing changed", arguments: refusals)
        func refuses(code: String, arguments: [String]) async throws {
            try await UserLedger.with { user in
                let store = user.ledger.store
                let queued = NewEvent(
                    type: "queued", data: #"{"name":"test","total":5}"#, id: EventID(uuidString: Self.taken)!)
                _ = try await store.append(queued, to: "open")
                try await user.ledger.queue("ended")
                _ = try await store.append(NewEvent(type: "failed", data: #"{"error":"x"}"#), to: "ended")
                let before = try await user.run("tail", "--until-head", "--json").output

                let answer = try await Program.jobledger.run(
                    ["append"] + arguments + ["--json"], environment: user.environment)
                #expect(answer.code == 1, "\(answer)")
                let json = try answer.json()
                #expect(json.members == ["error"])
                #expect(json["error"]?["code"]?.text == code)
                #expect(json["error"]?["message"]?.text?.isEmpty == false)

                let told = try await Program.jobledger.run(["append"] + arguments, environment: user.environment)
                #expect(told.code == 1)
                #expect(told.output == "")
                #expect(told.errors.hasPrefix("refused: \(code): "), "\(told)")

                #expect(try await store.head() == 3)
                #expect(try await user.run("tail", "--until-head", "--json").output == before)
            }
        }
    }
}
