import AsyncHTTPClient
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import NIOCore
import NIOHTTP1
import Testing

extension EndToEnd {
    /// docs/messages.md has the messages of refusals and usage errors over HTTP, on the command
    /// line and in SQL, so that people can review them.
    @Suite("messages") struct MessagesTests {
        private static let page = Repository.root.appending(path: "docs/messages.md")

        @Test("all of them are in docs/messages.md") func all() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await fill(user)
                // The projector of this test is a superuser. A service refuses to start with tables
                // of a superuser until migrate has given them to the owner.
                try await user.untilProjected()
                #expect(try await user.run("migrate").code == 0)
                let sections = [
                    ("Over HTTP", try await overHTTP(user)), ("In a request for many jobs", try await inBulk(user)),
                    ("On the command line", try await onTheCommandLine(user)), ("In SQL", try await inSQL(user)),
                ]
                let text = Self.text(sections)
                if ProcessInfo.processInfo.environment["UPDATE_MESSAGES"] == "1" {
                    try Data(text.utf8).write(to: Self.page)
                }
                let page = try String(contentsOf: Self.page, encoding: .utf8)
                let (lines, written) = (text.split(separator: "\n"), page.split(separator: "\n"))
                for (line, there) in zip(lines, written) where line != there {
                    Issue.record(
                        """
                        The message is now:
                        \(line)
                        and docs/messages.md has:
                        \(there)
                        UPDATE_MESSAGES=1 swift test --filter MessagesTests writes the page. Read the changes as a \
                        newcomer would.
                        """)
                    return
                }
                #expect(lines.count == written.count)
            }
        }

        private typealias Message = (what: String, says: String)

        private static func text(_ sections: [(title: String, messages: [Message])]) -> String {
            var text = """
                # What refusals say

                A test writes this page and checks that it is up to date. It lets you read all messages as a newcomer
                would. Ids, ports and times that differ from run to run are left out.

                """
            for (title, messages) in sections {
                text += "\n## \(title)\n\n"
                for message in messages { text += "- \(message.what)\n  → \(message.says)\n" }
            }
            return text
        }

        /// The text without parts that differ from run to run.
        private func stable(_ text: String, _ user: UserLedger) -> String {
            text.replacing(user.ledger.name.text, with: "jobledger")
                .replacing(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/, with: "UUID")
                .replacing(/jl_[0-9a-f]{12}_[\w-]{43}/, with: "jl_…").replacing(/127\.0\.0\.1:[0-9]+/, with: "HOST")
                .replacing(/socket "[^"]*"/, with: "socket").replacing("\n", with: "\n    ")
        }

        private func fill(_ user: UserLedger) async throws {
            let store = user.ledger.store
            _ = try await store.append(
                NewEvent(type: "queued", data: #"{"name":"test","total":5}"#, id: EventID(text: RefusalTests.taken)!),
                to: "open")
            try await user.ledger.queue("ended")
            _ = try await store.append(NewEvent(type: "failed", data: #"{"error":"x"}"#), to: "ended")
        }

        private static let taken = RefusalTests.taken

        // MARK: HTTP

        /// A request. Its headers replace the usual ones of the same names.
        private typealias Request = (method: String, path: String, body: String?, headers: [String: String])

        private static func post(_ body: String, _ headers: [String: String] = [:]) -> Request {
            ("POST", "/v1/jobs/open/events", body, headers)
        }

        private static func get(_ path: String, _ headers: [String: String] = [:]) -> Request {
            ("GET", path, nil, headers)
        }

        private static func data(_ type: String, _ data: String) -> String { #"{"type":"\#(type)","data":\#(data)}"# }

        private static let requests: [Request] = [
            get("/v1/jobs", ["authorization": ""]), get("/v1/jobs", ["authorization": "jl_0123456789ab_secret"]),
            get("/v1/jobs", ["authorization": "Bearer nonsense"]), get("/nowhere"), ("DELETE", "/v1/jobs", nil, [:]),
            get("/v1/jobs?status=done"), get("/v1/jobs?limit=0"), get("/v1/jobs?limit=1&limit=2"),
            get("/v1/jobs?color=red"), get("/v1/jobs?after=nobody"), get("/v1/jobs/nobody"),
            get("/v1/jobs/open?at=noon"),
            get("/v1/jobs/open?at=2026-11-23T20:45:00"), get("/v1/jobs/open?at=2026-11-23T20:45:00+01:00"),
            get("/v1/jobs/open?at=1&min_position=1"), get("/v1/jobs/open?min_position=99999999999999999999"),
            get("/v1/jobs/%FF"), get("/v1/jobs?after=%FF"), get("/v1/events?after=-1"), get("/v1/events?after=+5"),
            get("/v1/events?after=99"), get("/v1/events?type=paused"), get("/v1/events?category=nope"),
            get("/v1/events?category=user&type=paused"), get("/v1/streams/No/x/events"),
            get("/v1/events?after=99", ["accept": "text/event-stream"]),
            get("/v1/events?conflate=fast", ["accept": "text/event-stream"]),
            get("/v1/events", ["accept": "text/event-stream", "last-event-id": "seven"]), get("/v1/jobs/nobody/events"),
            get("/v1/jobs/nobody/runs"), get("/v1/audit/checkpoint"), get("/v1/audit/consistency"),
            get("/v1/audit/consistency?from=7"),
            get("/v1/audit/proof"), get("/v1/audit/proof?event=x"), get("/v1/audit/proof?event=99"),
            get("/v1/audit/proof?job=nobody"),
            get("/v1/audit/tile/0/1"), get("/v1/audit/events?from=soon"), get("/v1/audit/events/x/why"),
            get("/v1/audit/events/99/why"),
            get("/v1/audit/events?order=random"),
            post("", ["content-type": "text/plain"]), post(""), post("7"), post("{"), post(#"{"type":"progress",}"#),
            post("{type: 'progress'}"), post("[]"), post("[{},{}"), post("{}"), post(#"{"type":7}"#),
            post(#"{"type":"paused"}"#),
            post(#"{"type":"progress","completed":1}"#),
            post(#"{"type":"progress","job":"other","data":{"completed":1}}"#),
            post(#"{"type":"progress","event_id":"7","data":{"completed":1}}"#),
            post(#"{"type":"progress","expected_version":"first","data":{"completed":1}}"#),
            post(#"{"type":"progress","expected_version":7,"data":{"completed":1}}"#),
            post(#"{"type":"progress","occurred_at":"2026-11-23T20:45:00","data":{"completed":1}}"#),
            post(#"{"type":"progress","occurred_at":"yesterday","data":{"completed":1}}"#),
            post(#"{"type":"progress","metadata":{"actor":7},"data":{"completed":1}}"#),
            post(#"{"type":"progress","metadata":[],"data":{"completed":1}}"#), post(#"{"type":"progress","data":[]}"#),
            post(data("progress", "{}")), post(data("progress", #"{"completed":"1"}"#)),
            post(data("progress", #"{"completed":6}"#)),
            post(data("progress", #"{"completed":NaN}"#)),
            post(data("progress", #"{"completed":1,"runs":[{"run_index":0,"metrics":{"sharpe":Infinity}}]}"#)),
            post(data("progress", #"{"completed":1,"runs":[{"run_index":0},{"metrics":{}}]}"#)),
            post(data("progress", #"{"completed":1,"runs":7}"#)), post(data("progress", #"{"completed":1,"x":1e999}"#)),
            post(data("progress", #"{"completed":1,"x":"\u0000"}"#)), post(data("progress", #"{"completed":None}"#)),
            post(data("progress", #"{"completed":True}"#)), post(data("progress", "{'completed':1}")),
            post(data("truncated", "{}")), post(data("failed", "{}")), post(data("failed", #"{"error":""}"#)),
            post(data("failed", #"{"error":"\#(String(repeating: "x", count: 1_000_001))"}"#)),
            post(data("finished", #"{"results":[]}"#)), post(data("finished", #"{"view_url":7}"#)),
            post(data("queued", #"{"name":"again"}"#)),
            post(#"{"type":"progress","event_id":"\#(taken)","metadata":{"actor":"ada"},"data":{"completed":1}}"#),
            post(data("progress", #"{"completed":1}"#), ["idempotency-key": "seven"]),
            post("[\(data("progress", #"{"completed":1}"#)),\(data("progress", #"{"completed":9}"#))]"),
            ("POST", "/v1/jobs/new/events", data("queued", "{}"), [:]),
            ("POST", "/v1/jobs/new/events", data("queued", #"{"name":7}"#), [:]),
            ("POST", "/v1/jobs/new/events", data("queued", #"{"name":"n","kind":"remote"}"#), [:]),
            (
                "POST", "/v1/jobs/new/events", data("queued", #"{"name":"n","variables":[{"name":"v","count":-1}]}"#),
                [:]
            ),
            ("POST", "/v1/jobs/new/events", data("progress", #"{"completed":1}"#), [:]),
            ("POST", "/v1/jobs/ended/events", data("progress", #"{"completed":1}"#), [:]),
            ("POST", "/v1/jobs/\(String(repeating: "x", count: 256))/events", data("queued", #"{"name":"n"}"#), [:]),
            ("POST", "/v1/jobs/a%09b/events", data("queued", #"{"name":"n"}"#), [:]),
            post(#"{"specversion":"0.3"}"#, ["content-type": "application/cloudevents+json"]),
            post(#"{"specversion":"1.0"}"#, ["content-type": "application/cloudevents+json"]),
            post(
                #"{"specversion":"1.0","id":"7","source":"/x","type":"io.jobledger.job.progress"}"#,
                ["content-type": "application/cloudevents+json"]),
            post(
                #"{"specversion":"1.0","id":"\#(taken)","source":"/x","type":"com.example.done"}"#,
                ["content-type": "application/cloudevents+json"]),
            post(
                #"{"specversion":"1.0","id":"\#(taken)","source":"/x","type":"io.jobledger.job.progress","#
                    + #""data_base64":"e30="}"#,
                ["content-type": "application/cloudevents+json"]),
            post(
                #"{"specversion":"1.0","id":"\#(taken)","source":"/x","type":"io.jobledger.job.progress","my-key":1}"#,
                ["content-type": "application/cloudevents+json"]),
        ]

        private func overHTTP(_ user: UserLedger) async throws -> [Message] {
            var messages: [Message] = []
            try await ServiceProcess.with(user) { service in
                for request in Self.requests { messages.append(try await ask(service, request)) }
                let large = Self.data(
                    "progress", #"{"completed":1,"message":"\#(String(repeating: "x", count: 9 << 20))"}"#)
                messages.append(try await ask(service, Self.post(large)))
            }
            return messages
        }

        private func ask(_ service: ServiceProcess, _ request: Request) async throws -> Message {
            var asked = HTTPClientRequest(url: service.url + request.path)
            asked.method = .RAW(value: request.method)
            var headers = ["authorization": "Bearer \(service.token)"].merging(request.headers) { $1 }
            if let body = request.body {
                headers = ["content-type": "application/json"].merging(headers) { $1 }
                asked.body = .bytes(ByteBuffer(string: body))
            }
            for (name, value) in headers where !value.isEmpty { asked.headers.add(name: name, value: value) }
            let response = try await HTTPClient.shared.execute(asked, timeout: .seconds(60))
            let answer = try JSONValue(parsing: String(buffer: try await response.body.collect(upTo: 16 << 20)))
            let (code, detail) = (answer["code"]?.text ?? "no code", answer["detail"]?.text ?? "no detail")
            #expect(
                response.status.code >= 400 && response.status.code < 500,
                "\(request.path): \(response.status) \(detail)")
            let given = request.headers.sorted { $0.key < $1.key }.map { " \($0.key): \($0.value)" }.joined()
            let what =
                "`\(request.method) \(request.path.prefix(100))\(given)`"
                + (request.body.map { " `\(Self.cut($0))`" } ?? "")
            return (what, stable("\(response.status.code) `\(code)`: \(detail)", service.user))
        }

        private static func cut(_ text: String) -> String {
            text.count > 160 ? "\(text.prefix(120))… (\(text.utf8.count) bytes)" : text
        }

        /// A bad item must not affect the other items.
        private func inBulk(_ user: UserLedger) async throws -> [Message] {
            var messages: [Message] = []
            let items = [
                "7", "{}", #"{"job":"bulk","type":"queued","data":{"name":"n","sharpe":NaN}}"#, "{'job':'bulk'}",
                #"{"job":"bulk","type":"queued"} 7"#,
                #"{"job":"bulk","type":"queued","data":{"name":"n","total":5}}"#,
                #"{"job":"bulk","type":"progress","data":{"completed":-Infinity}}"#,
                #"{"job":"bulk","type":"progress","data":{"completed":1}}"#,
            ]
            try await ServiceProcess.with(user) { service in
                let (status, body) = try await service.ask("POST", "/v1/events", "[\(items.joined(separator: ","))]")
                let results = try JSONValue(parsing: body)["results"]?.elements ?? []
                #expect(status == 200 && results.count == items.count, "\(body)")
                #expect(results.count { $0["position"] != nil } == 2, "\(body)")
                for (item, result) in zip(items, results) {
                    let error = result["error"]
                    let says = error.map { "`\($0["code"]?.text ?? "")`: \($0["message"]?.text ?? "")" } ?? "appended"
                    messages.append(("`\(item)`", stable(says, user)))
                }
                for broken in [#"[{"job":"a"},{"job":]"#, #"[{"job":"a"},{"job":"b}]"#, "[{]", "[{}] x"] {
                    let (status, body) = try await service.ask("POST", "/v1/events", broken)
                    #expect(status == 400)
                    messages.append(("`\(broken)`", "\(status) \(try JSONValue(parsing: body)["detail"]?.text ?? "")"))
                }
            }
            return messages
        }

        // MARK: The command line

        private func onTheCommandLine(_ user: UserLedger) async throws -> [Message] {
            var messages: [Message] = []
            func tell(_ arguments: [String], _ environment: [String: String], input: Data = Data()) async throws {
                let outcome = try await Program.jobledger.run(arguments, environment: environment, input: input)
                #expect((1...3).contains(outcome.code), "\(arguments): \(outcome)")
                let settings = environment.filter { !$0.key.hasSuffix("_URL") && $0.value != user.ledger.name.text }
                    .sorted { $0.key < $1.key }.map { "\($0.key)='\($0.value)' " }.joined()
                // Without the usage that the parser adds, which is the same for all mistakes of a
                // command.
                let says = outcome.errors.split(separator: "\n").prefix {
                    !$0.hasPrefix("Usage:") && !$0.hasPrefix("Help:")
                }
                let words = arguments.map { $0.contains(" ") ? "'\($0)'" : $0 }.joined(separator: " ")
                messages.append(
                    (
                        "`\(settings)jobledger \(words.prefix(200))`",
                        stable("\(outcome.code): \(says.joined(separator: "\n").replacing("Error: ", with: ""))", user)
                    ))
            }
            for misuse in ExitCodeTests.misuse {
                try await tell(misuse.arguments, misuse.environment)
            }
            for refusal in RefusalTests.refusals where refusal.code != "too_large" {
                try await tell(["append"] + refusal.arguments, user.environment)
            }
            for arguments in [
                ["append", "open", "progress", "--data", #"{"completed": NaN}"#],
                ["append", "open", "progress", "--data", #"{"completed": 1}"#, "--occurred-at", "2026-11-23T20:45:00"],
                ["show", "nobody"], ["history", "nobody"], ["blame", "nobody"], ["audit", "why", "99"],
                ["audit", "why", "x"],
                ["audit", "prove", "99"], ["audit", "tiles", "/tmp/none"], ["project", "--retry", "batch_jobs"],
                ["rebuild", "batch_jobs", "--undo"], ["token", "revoke", "nobody"], ["import", "/no/such/file"],
                ["export", "--from", "3", "--to", "1"], ["history", "--category", "nope", "x"],
            ] { try await tell(arguments, user.environment) }
            let lines = #"""
                {"job":"f","type":"queued","data":{"name":"n","sharpe":NaN}}
                {"job":"f","type":"queued","data":{"name":"n"}}
                {"job":"f","type":"progress","data":{"completed":1}
                not JSON
                """#
            try await tell(["append", "--file", "-"], user.environment, input: Data([0xEF, 0xBB, 0xBF] + lines.utf8))
            #expect(try await user.run("history", "f").lines.count == 1)
            return messages
        }

        // MARK: SQL

        private static let statements = [
            "SELECT append_event('a', 'queued', '{}')", "SELECT append_event('', 'queued', '{\"name\":\"n\"}')",
            "SELECT append_event('a', 'paused', '{}')", "SELECT append_event('a', 'progress', '{\"completed\":1}')",
            "SELECT append_event('open', 'progress', '{\"completed\":1}', expected_version => -1)",
            "SELECT append_event('open', 'progress', '{\"completed\":1}', occurred_at => 'infinity')",
            "SELECT append_event('open', 'progress', '{\"completed\":1,\"runs\":[{\"run_index\":0},7]}')",
            "INSERT INTO events SELECT * FROM events", "UPDATE events SET version = 7", "DELETE FROM events",
            "TRUNCATE events",
            "DELETE FROM receipts", "UPDATE refusals SET times = 7", "DELETE FROM epochs",
            "SELECT acknowledge('s', 'me', 99)",
            "SELECT take_subscription('s', 'me', '1 s', 99)",
            "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT append_event('open', 'progress', '{\"completed\":1}')",
            "SELECT append_batch(ARRAY['a'], ARRAY['queued', 'queued'], ARRAY['{}'])",
            "SELECT skip_event('batch_jobs', 1, 'me', 'why')",
        ]

        private func inSQL(_ user: UserLedger) async throws -> [Message] {
            var messages: [Message] = []
            for statement in Self.statements {
                let outcome = try await user.psql("SET search_path = \(user.ledger.name); \(statement)")
                #expect(outcome.code != 0, "\(statement): \(outcome)")
                let says = outcome.errors.split(separator: "\n").filter {
                    $0.hasPrefix("ERROR:") || $0.hasPrefix("DETAIL:") || $0.hasPrefix("HINT:")
                }
                messages.append(("`\(statement)`", stable(says.joined(separator: "\n"), user)))
            }
            return messages
        }
    }
}
