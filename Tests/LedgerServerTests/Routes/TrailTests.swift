import AuditTrail
import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import LedgerTesting
import Logging
import Postgres
import Testing

@testable import LedgerServer

/// The audit trail and the refusals over HTTP.
@Suite(.timeLimit(.minutes(10))) struct TrailTests {
    @Test("a page ends early if its texts are large, and says where the next page begins") func largeTexts()
        async throws
    {
        try await TestService.with(projecting: true) { service in
            let text = String(repeating: "😀", count: 1000)
            let cause = try await service.ledger.queue("a").eventID
            let events = (1...950).map {
                NewEvent(
                    type: "progress", data: #"{"completed":\#($0),"message":"\#(text)"}"#,
                    metadata: #"{"source":"\#(text)","causation_id":"\#(cause.text)"}"#)
            }
            _ = try await service.ledger.store.append([AppendRequest(job: "a", events: events)])
            var (next, seen, pages): (String?, [Int], Int) = (
                "/v1/audit/events?limit=1000&order=oldest&min_position=951", [], 0
            )
            while let path = next {
                let page = try await service.ask("GET", path)
                #expect(page.body.count < 5 << 20, "\(page.body.count)")
                seen += page.json["events"].elements.compactMap { $0["position"].number }
                (next, pages) = (page.json["next"].text, pages + 1)
            }
            #expect(seen == Array(1...951) && pages == 2)
            let why = try await service.ask("GET", "/v1/audit/events/1/why")
            #expect(why.body.count < 5 << 20 && why.json["more"].bool == true, "\(why.body.count)")
            #expect(why.json["consequences"].elements.count > 300)
        }
    }

    @Test func events() async throws {
        try await TestService.with(projecting: true) { service in
            for (job, actor) in [("a", "ada"), ("b", "bob"), ("c", "ada"), ("d", "ada")] {
                let sent = """
                    {"type":"queued","data":{"name":"run of \(job)"},
                     "metadata":{"actor":"\(actor)","correlation_id":"r-1"}}
                    """
                #expect(try await service.append(sent, to: job).status == 201)
            }
            let cause = try #require(try await service.ledger.store.page(EventQuery(limit: 1)).first).id
            let failed = """
                {"type":"failed","data":{"error":"out of memory"},
                 "metadata":{"actor":"w","causation_id":"\(cause.text)"}}
                """
            #expect(try await service.append(failed, to: "a").status == 201)

            let all = try await service.ask("GET", "/v1/audit/events?min_position=5")
            #expect(all.status == 200 && all.headers["ledger-position"] == "5", "\(all)")
            #expect(all.json["events"].elements.compactMap { $0["position"].number } == [5, 4, 3, 2, 1])
            #expect(all.json["events"].elements[0]["detail"].text == "out of memory" && all.json["next"].isNull)
            // Pages, by their `next` addresses.
            var (next, seen): (String?, [Int]) = ("/v1/audit/events?actor=ada&limit=1&order=oldest", [])
            while let path = next {
                let page = try await service.ask("GET", path)
                seen += page.json["events"].elements.compactMap { $0["position"].number }
                next = page.json["next"].text
            }
            #expect(seen == [1, 3, 4])
            for (question, positions) in [
                ("type=failed", [5]), ("text=MEMORY%20out", [5]), ("text=run&actor=bob", [2]), ("job=a", [5, 1]),
                ("to=2", [2, 1]),
                ("from=4", [5, 4]), ("correlation_id=r-1&to=1", [1]), ("from=2999-01-01T00:00:00Z", []),
                ("actor=nobody", []),
            ] {
                let answer = try await service.ask("GET", "/v1/audit/events?\(question)")
                #expect(answer.json["events"].elements.compactMap { $0["position"].number } == positions, "\(question)")
            }
            for bad in ["type=x", "limit=0", "order=x", "after=0", "from=soon", "actor=a&actor=b", "who=ada"] {
                #expect(try await service.ask("GET", "/v1/audit/events?\(bad)").status == 400, "\(bad)")
            }
            for (question, status) in [("oldest&after=5", 200), ("oldest&after=6", 409), ("newest&after=6", 200)] {
                let answer = try await service.ask("GET", "/v1/audit/events?order=\(question)")
                #expect(answer.status == status, "\(question): \(answer)")
                #expect((answer.code == "another_ledger") == (status == 409), "\(question): \(answer)")
            }
            let why = try await service.ask("GET", "/v1/audit/events/5/why")
            #expect(why.json["causes"].elements.compactMap { $0["job"].text } == ["a"], "\(why)")
            let effects = try await service.ask("GET", "/v1/audit/events/\(cause.text)/why")
            #expect(effects.json["consequences"].elements.compactMap { $0["event"]["position"].number } == [5])
            #expect(try await service.ask("GET", "/v1/audit/events/6/why").json["code"].text == "unknown_event")
            #expect(try await service.ask("GET", "/v1/audit/events/x/why").status == 400)
        }
    }

    @Test("entries of other categories have category and stream in place of the job") func categories()
        async throws
    {
        try await TestService.with(projecting: true) { service in
            let connection = try await service.ledger.connect()
            try await TestCategories.install(on: connection)
            await connection.close()
            let registered = """
                {"type":"registered","data":{"email":"ada@example.org"},"metadata":{"actor":"ada"}}
                """
            #expect(try await service.ask("POST", "/v1/streams/user/x/events", registered).status == 201)
            let cause = try #require(try await service.ledger.store.page(EventQuery(limit: 1)).first).id
            let queued = """
                {"type":"queued","data":{"name":"n"},"metadata":{"actor":"ada","causation_id":"\(cause.text)"}}
                """
            #expect(try await service.append(queued, to: "x").status == 201)
            #expect(try await service.ask("POST", "/v1/streams/user/x/events", #"{"type":"updated"}"#).status == 201)

            let all = try await service.ask("GET", "/v1/audit/events?min_position=3")
            let entries = all.json["events"].elements
            #expect(entries.compactMap { $0["position"].number } == [3, 2, 1], "\(all)")
            #expect(entries[1]["job"].text == "x" && entries[1]["category"].text == nil, "\(all)")
            #expect(entries[2]["job"].text == nil && entries[2]["category"].text == "user", "\(all)")
            #expect(entries[2]["stream"].text == "x" && entries[2]["type"].text == "registered", "\(all)")
            #expect(entries[2]["detail"].isNull && !all.text.contains("example.org"), "\(all)")
            for (question, positions) in [
                ("category=user", [3, 1]), ("category=job", [2]), ("job=x", [2]),
                ("category=user&job=x", [3, 1]), ("category=user&type=registered", [1]), ("type=queued", [2]),
                ("category=user&actor=ada", [1]), ("actor=ada", [2, 1]), ("category=job&text=n", [2]),
            ] {
                let answer = try await service.ask("GET", "/v1/audit/events?\(question)")
                #expect(answer.json["events"].elements.compactMap { $0["position"].number } == positions, "\(question)")
            }
            // The next page has the same category.
            let first = try await service.ask("GET", "/v1/audit/events?category=user&limit=1")
            let second = try await service.ask("GET", try #require(first.json["next"].text))
            #expect(second.json["events"].elements.compactMap { $0["position"].number } == [1], "\(second)")
            for bad in [
                "type=registered", "category=User", "category=user&type=Registered", "category=user&text=ada",
                "category=user&type=registered&type=updated",
            ] {
                #expect(try await service.ask("GET", "/v1/audit/events?\(bad)").status == 400, "\(bad)")
            }
            let why = try await service.ask("GET", "/v1/audit/events/2/why")
            #expect(why.json["causes"].elements.compactMap { $0["stream"].text } == ["x"], "\(why)")

            try await owner(service, "ALTER TABLE audit_log DROP COLUMN category")
            let older = try await service.ask("GET", "/v1/audit/events")
            #expect(older.status == 503 && older.json["code"].text == "not_projected_yet", "\(older)")
        }
    }

    private func owner(_ service: TestService, _ script: String) async throws {
        let owner = try await service.ledger.connect()
        try await owner.execute(script: script)
        await owner.close()
    }

    @Test func notProjected() async throws {
        try await TestService.with { service in
            let answer = try await service.ask("GET", "/v1/audit/events")
            #expect(answer.status == 503 && answer.json["code"].text == "not_projected_yet", "\(answer)")
        }
    }

    /// The recorded refusals, as soon as there are `count`.
    private static func refusals(_ service: TestService, _ question: String = "", atLeast count: Int64) async throws
        -> [JSON]
    {
        try await eventually("\(count) refusals are written") {
            let list = try await service.ask("GET", "/v1/audit/refusals?limit=1000&order=oldest\(question)").json[
                "refusals"
            ]
            .elements
            return list.reduce(0) { $0 + Int64($1["times"].number ?? 0) } >= count ? list : nil
        }
    }

    @Test func refusals() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            let named = try await service.tokens.create([.read], name: "a reader")
            let queued = #"{"type":"queued","data":{"name":"x"},"metadata":{"actor":"eve"}}"#
            #expect(try await service.append(queued, to: "a").status == 409)
            #expect(try await service.append("{", to: "a").status == 400)
            #expect(try await service.append(#"{"type":"progress","data":{"completed":1}}"#, to: "none").status == 404)
            #expect(try await service.ask("POST", "/v1/jobs/a/events", queued, token: "").status == 401)
            #expect(try await service.ask("POST", "/v1/jobs/a/events", queued, token: named.text).status == 403)
            #expect(try await service.ask("GET", "/v1/jobs/a", token: "jl_nonsense").status == 401)
            let many =
                #"[{"job":"b","type":"queued","data":{"name":"x"}},{"job":"a","type":"queued","data":{"name":"x"}}]"#
            #expect(try await service.ask("POST", "/v1/events", many).status == 200)
            // A failed read is no refusal that an auditor looks for.
            #expect(try await service.ask("GET", "/v1/jobs/none/events").status == 404)
            let list = try await Self.refusals(service, atLeast: 7)
            #expect(
                list.map { $0["code"].text } == [
                    "already_queued", "malformed_json", "unknown_job", "unauthorized", "forbidden", "unauthorized",
                    "already_queued",
                ])
            #expect(list[0]["actor"].text == "eve" && list[0]["job"].text == "a" && list[0]["type"].text == "queued")
            #expect(
                list[0]["token_name"].text == "test" && list[0]["peer"].text == "127.0.0.1"
                    && list[0]["event_id"].text != nil)
            #expect(list[4]["token"].text == named.id.text && list[4]["token_name"].text == "a reader")
            #expect(list[3]["token"].isNull && list[3]["path"].text == "/v1/jobs/{id}/events")
            #expect(list[6]["path"].text == "/v1/events" && list[6]["job"].text == "a")
            #expect(try await Self.refusals(service, "&actor=eve", atLeast: 1).count == 1)
            #expect(try await Self.refusals(service, "&code=forbidden", atLeast: 1).count == 1)
            let page = try await service.ask("GET", "/v1/audit/refusals?limit=3")
            #expect(page.json["refusals"].elements.map { $0["number"].number } == [7, 6, 5])
            let next = try #require(page.json["next"].text)
            #expect(
                try await service.ask("GET", next).json["refusals"].elements.map { $0["number"].number } == [4, 3, 2])
            // The table has no secret of a token, and cannot be changed.
            let connection = try await service.ledger.connect()
            let text = try await connection.query("SELECT string_agg(r::text, ' ') FROM refusals AS r").only().decode(
                0, as: String.self)
            #expect(!text.contains(named.text.suffix(20)))
            for statement in ["UPDATE refusals SET times = 1", "DELETE FROM refusals", "TRUNCATE refusals"] {
                await #expect(throws: PostgresError.self) { try await connection.query(statement) }
            }
            await connection.close()
        }
    }

    /// Many refusals in a short time, each for a new job: all are counted, few are rows, and no
    /// request waits for them.
    @Test func flood() async throws {
        try await TestService.with { service in
            let count = 1500
            let start = ContinuousClock.now
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<8 {
                    group.addTask {
                        for number in stride(from: worker, to: count, by: 8) {
                            let token = number % 2 == 0 ? nil : "jl_nonsense"
                            let answer = try await service.ask(
                                "POST", "/v1/jobs/flood-\(number)/events",
                                #"{"type":"progress","data":{"completed":1}}"#,
                                token: token ?? service.token)
                            #expect(answer.status == (token == nil ? 404 : 401))
                        }
                    }
                }
                try await group.waitForAll()
            }
            let connection = try await service.ledger.connect()
            let rows: Int64 = try await eventually("all refusals are counted") {
                let row = try await connection.query("SELECT coalesce(sum(times), 0)::bigint, count(*) FROM refusals")
                    .only()
                return try row.decode(0, as: Int64.self) == Int64(count) ? try row.decode(1) : nil
            }
            // Each second adds a limited number of rows for the token and for the address, and one
            // of each kind for the rest.
            let seconds = Int64(start.duration(to: .now) / .seconds(1)) + 2
            #expect(
                rows <= seconds * Int64(RefusalRecorder.maxRowsPerToken + RefusalRecorder.maxRowsPerAddress + 2),
                "\(rows) rows in \(seconds) s")
            let rest = try await connection.query(
                "SELECT FROM refusals WHERE detail LIKE 'further refusals of this kind%' AND times > 1")
            #expect(!rest.isEmpty)
            await connection.close()
        }
    }

    /// A refusal that cannot be written is written later, and one that is recorded just before the
    /// end is written at the end.
    @Test func lateAndLast() async throws {
        try await TestLedger.with { ledger in
            func attempt(_ job: String) -> RefusedAttempt {
                RefusedAttempt(
                    kind: .init(
                        token: nil, peer: nil, method: "POST", path: "/", actor: nil, job: JobID(job), type: nil,
                        code: "unknown_job"),
                    eventID: nil, detail: "no\u{0}thing")
            }
            let recorder = RefusalRecorder(store: ledger.store, logger: .init(label: "test"))
            let connection = try await ledger.connect()
            try await connection.execute(script: "ALTER FUNCTION note_refusals RENAME TO elsewhere")
            let running = Task { await recorder.run() }
            recorder.record(attempt("a"), isKnown: true)
            recorder.record(attempt("a"), isKnown: true)
            // The function returns only after a write has failed.
            _ = try await eventually("a write has failed") { recorder.failures > 0 ? true : nil }
            try await connection.execute(script: "ALTER FUNCTION elsewhere RENAME TO note_refusals")
            func times(_ job: String) async throws -> Int64? {
                try await connection.query("SELECT times FROM refusals WHERE job = $1", job).first.map {
                    try $0.decode(0)
                }
            }
            _ = try await eventually("the refusals are written") { try await times("a") == 2 ? true : nil }
            recorder.record(attempt("b"), isKnown: true)
            running.cancel()
            await running.value
            #expect(try await times("b") == 1)
            await connection.close()
        }
    }
}
