import EventStore
import LedgerCore
import LedgerSettings
import LedgerTesting
import Postgres
import Projections
import Testing

@testable import LedgerServer

@Suite("blame over HTTP") struct BlameTests {
    /// Ids that an address, JSON or SQL could misread.
    static let oddIDs = [
        "a/b?c=d&e", #"quote " and \ back"#, "'; DROP TABLE events; --", "<b>é\u{301}</b>", "%41", "$fold$",
    ]

    static func append(_ type: String, _ data: String, by actor: String, to job: String, _ ledger: TestLedger)
        async throws
    {
        _ = try await ledger.store.append(
            NewEvent(type: type, data: data, metadata: #"{"actor":"\#(actor)"}"#), to: JobID(job))
    }

    @Test("each column names the last event that changed it") func ofJob() async throws {
        try await TestService.with { service in
            // No projector runs: blame reads the log alone.
            let ledger = service.ledger
            try await Self.append("queued", #"{"name":"x","total":4}"#, by: "ada", to: "a", ledger)
            try await ledger.progress("a", 2)
            try await ledger.queue("b")
            try await Self.append("finished", "{}", by: "bob", to: "a", ledger)

            let now = try await service.ask("GET", "/v1/jobs/a/blame")
            #expect(now.status == 200 && now.json["position"].number == 4, "\(now)")
            #expect(now.headers["ledger-position"] == "4" && now.headers["content-type"] == "application/json")
            let columns = now.json["columns"]
            #expect(columns.members.count == 17)
            let status = columns["status"]
            #expect(status["position"].number == 4 && status["version"].number == 3, "\(status)")
            #expect(status["type"].text == "finished" && status["actor"].text == "bob")
            let event = try #require(try await ledger.store.page(EventQuery(after: 3)).first)
            #expect(status["recorded_at"].text == event.recordedAt.description && status["occurred_at"].isNull)
            #expect(columns["total"]["position"].number == 1 && columns["total"]["actor"].text == "ada")
            #expect(columns["error"].isNull && columns.members["error"] != nil)
            // The columns are in the table's order.
            let places = ["\"id\":", "\"status\":", "\"results\":"].map { now.text.firstRange(of: $0)!.lowerBound }
            #expect(places == places.sorted())

            let then = try await service.ask("GET", "/v1/jobs/a/blame?at=2")
            #expect(then.json["columns"]["status"]["position"].number == 2, "\(then)")
            #expect(then.json["columns"]["status"]["actor"].isNull)
            let time = percentEncoded(event.recordedAt.description)
            #expect(try await service.ask("GET", "/v1/jobs/a/blame?at=\(time)").text == now.text)
            let beyond = try await service.ask("GET", "/v1/jobs/a/blame?at=999")
            #expect(beyond.text == now.text && beyond.headers["ledger-position"] == "4")
            let stream = try await service.ask("GET", "/v1/streams/job/a/blame")
            #expect(stream.text == now.text, "\(stream)")
        }
    }

    @Test("what is not there, and what cannot be asked") func unknown() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            for (path, position) in [
                ("/v1/jobs/none/blame", "1"), ("/v1/jobs/a/blame?at=0", "0"),
                ("/v1/jobs/a/blame?at=1999-01-01T00:00:00Z", "0"), ("/v1/streams/job/none/blame", "1"),
            ] {
                let answer = try await service.ask("GET", path)
                #expect(answer.status == 404 && answer.code == "unknown_job", "\(path): \(answer)")
                #expect(answer.headers["ledger-position"] == position, "\(path): \(answer)")
            }
            for bad in ["at=-1", "at=soon", "at=1&at=2", "min_position=1", "limit=1"] {
                let answer = try await service.ask("GET", "/v1/jobs/a/blame?\(bad)")
                #expect(answer.status == 400 && answer.code == "invalid_request", "\(bad): \(answer)")
            }
            for path in [
                "/v1/streams/nothing/s/blame", "/v1/streams/No/s/blame", "/v1/streams/job/a/blame?read_model=x",
            ] {
                let answer = try await service.ask("GET", path)
                #expect(answer.status == 400 && answer.code == "invalid_request", "\(path): \(answer)")
            }
            // The rows of users depend on the whole log.
            let user = try await service.ask("GET", "/v1/streams/user/u/blame")
            #expect(user.status == 400 && user.text.contains("jobledger rebuild backtesting"), "\(user)")
            for method in ["POST", "DELETE"] {
                #expect(try await service.ask(method, "/v1/jobs/a/blame").status == 405)
            }
        }
    }

    @Test("ids are data, whatever they contain") func oddNames() async throws {
        try await TestService.with { service in
            for id in Self.oddIDs { try await service.ledger.queue(id) }
            for (index, id) in Self.oddIDs.enumerated() {
                for path in ["jobs", "streams/job"] {
                    let answer = try await service.ask("GET", "/v1/\(path)/\(Query.encoded(id))/blame")
                    #expect(answer.json["columns"]["id"]["position"].number == index + 1, "\(id): \(answer)")
                }
            }
            #expect(try await service.ledger.count() == Int64(Self.oddIDs.count))
        }
    }

    @Test("streams of other categories, also one whose row is gone") func ofStream() async throws {
        let projections = [
            try TestProjections.members(), try TestProjections.members("leaving_members", leaving: true),
        ]
        try await TestService.with(projections: projections) { service in
            let owner = try await service.ledger.connect()
            try await TestProjections.installCategories(on: owner)
            for (type, data) in [
                ("registered", #"{"email": "a@example.org"}"#), ("updated", #"{"email": "b@example.org"}"#),
                ("removed", "{}"),
            ] {
                #expect(Int(try await TestCategories.append("member", "u 1", type, data, on: owner)) != nil)
            }
            await owner.close()
            let path = "/v1/streams/member/u%201/blame"
            #expect(try await service.ask("GET", path).status == 400)
            let kept = try await service.ask("GET", path + "?read_model=member_rows")
            #expect(kept.status == 200, "\(kept)")
            #expect(
                kept.json["columns"].members.mapValues { $0["position"].number } == ["id": 1, "email": 2, "events": 3])
            let gone = try await service.ask("GET", path + "?read_model=leaving_members")
            #expect(
                gone.json["columns"].members.mapValues { $0["position"].number } == ["id": 3, "email": 3, "events": 3])
            #expect(gone.json["columns"]["email"]["type"].text == "removed")
        }
    }

    /// More events than fit into one transaction. The connection that folded them is not used
    /// again.
    @Test("a long history") func long() async throws {
        try await TestService.with(settings: .changed { $0.readers = 1 }) { service in
            try await service.ledger.queue("long", total: 9000)
            let events = (1...2500).map { NewEvent(type: "progress", data: #"{"completed":\#(min($0, 2400))}"#) }
            _ = try await service.ledger.store.append(
                events.map { AppendRequest(job: "long", events: [$0]) }, timeout: .seconds(60))
            for _ in 0..<2 {
                let answer = try await service.ask("GET", "/v1/jobs/long/blame")
                #expect(answer.json["columns"]["completed"]["version"].number == 2401, "\(answer)")
                #expect(answer.json["columns"]["status"]["version"].number == 2)
            }
            #expect(try await service.ask("GET", "/v1/jobs/long/blame?at=2").json["position"].number == 2)
        }
    }

    @Test("a folder of one's own for batch_jobs that does not say what a row is") func ownFolder() async throws {
        for (members, status, code, says) in [
            (#""key": "stream_id""#, 404, "not_found", #"add \"rows\": {\"job\": \"TABLE\"}"#),
            (#""key": "log", "rows": {"job": "batch_jobs"}"#, 400, "invalid_request", "--until POSITION"),
        ] {
            try await TestService.with(projections: [try TestProjections.ownJobs(members)]) { service in
                try await service.ledger.queue("a")
                for path in ["/v1/jobs/a?at=1", "/v1/jobs/a/blame", "/v1/diff?from=0&to=1"] {
                    let answer = try await service.ask("GET", path)
                    #expect(answer.status == status && answer.code == code, "\(path): \(answer)")
                    #expect(answer.text.contains(says), "\(path): \(answer)")
                }
            }
        }
    }
}
