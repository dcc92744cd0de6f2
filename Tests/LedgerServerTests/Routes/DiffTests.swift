import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

@testable import LedgerServer

@Suite("differences over HTTP") struct DiffTests {
    @Test("each change has both values and the event that made it") func changes() async throws {
        try await TestService.with { service in
            let ledger = service.ledger
            for job in ["a", "b"] {
                try await BlameTests.append("queued", #"{"name":"x","total":4}"#, by: "ada", to: job, ledger)
            }
            try await ledger.progress("a", 3)
            try await BlameTests.append("finished", "{}", by: "bob", to: "a", ledger)
            try await BlameTests.append("queued", #"{"name":"new"}"#, by: "eve", to: "c", ledger)

            let answer = try await service.ask("GET", "/v1/diff?from=2&to=5")
            #expect(answer.status == 200 && answer.headers["ledger-position"] == "5", "\(answer)")
            #expect(answer.json["from"].number == 2 && answer.json["to"].number == 5 && answer.json["next"].isNull)
            let jobs = answer.json["jobs"].elements
            #expect(jobs.map { $0["id"].text } == ["a", "c"], "\(answer)")
            #expect(jobs[0]["event_count"].number == 2 && jobs[0]["before"]["status"].text == "queued")
            #expect(jobs[0]["after"]["status"].text == "finished" && jobs[0]["after"].members.count == 17)
            func change(_ job: JSON, _ column: String) -> JSON {
                job["changes"].elements.first { $0["column"].text == column } ?? JSON(0)
            }
            #expect(
                jobs[0]["changes"].elements.map { $0["column"].text }
                    == ["status", "completed", "updated_at", "completed_at"])
            let completed = change(jobs[0], "completed")
            #expect(completed["before"].number == 0 && completed["after"].number == 4, "\(completed)")
            #expect(completed["event"]["position"].number == 4 && completed["event"]["actor"].text == "bob")
            #expect(completed["event"]["type"].text == "finished" && completed["event"]["version"].number == 3)
            let event = try #require(try await ledger.store.page(EventQuery(after: 3)).first)
            #expect(completed["event"]["recorded_at"].text == event.recordedAt.description, "\(completed)")
            #expect(jobs[1]["before"].isNull && change(jobs[1], "name")["before"].isNull)
            #expect(change(jobs[1], "name")["event"]["actor"].text == "eve" && change(jobs[1], "error").number == 0)

            // Times, one job, nothing in between, beyond the end.
            let time = percentEncoded(event.recordedAt.description)
            let byTime = try await service.ask("GET", "/v1/diff?from=1999-01-01T00:00:00Z&to=\(time)&job=a")
            #expect(byTime.json["from"].number == 0 && byTime.json["to"].number ?? 0 >= 4, "\(byTime)")
            #expect(byTime.json["jobs"].elements.map { $0["id"].text } == ["a"])
            #expect(try await service.ask("GET", "/v1/diff?from=3&to=3").json["jobs"].elements.isEmpty)
            #expect(try await service.ask("GET", "/v1/diff?from=4&to=5&job=a").json["jobs"].elements.isEmpty)
            let beyond = try await service.ask("GET", "/v1/diff?from=900&to=999")
            #expect(beyond.json["from"].number == 5 && beyond.json["to"].number == 5, "\(beyond)")
        }
    }

    @Test("pages have every job once, in the order of the first events") func pages() async throws {
        try await TestService.with { service in
            for number in 1...12 { try await service.ledger.queue("job \(number)", total: 9) }
            for number in [3, 1, 2, 5, 4] {
                for completed in [1, 2] { try await service.ledger.progress("job \(number)", completed) }
            }
            let whole = try await service.ask("GET", "/v1/diff?from=12&to=22")
            #expect(
                whole.json["jobs"].elements.map { $0["id"].text } == [3, 1, 2, 5, 4].map { "job \($0)" }, "\(whole)")
            var (path, found, pages) = ("/v1/diff?from=12&to=22&limit=2", [JSON](), 0)
            while true {
                let page = try await service.ask("GET", path)
                #expect(page.status == 200 && page.json["jobs"].elements.count <= 2, "\(page)")
                found += page.json["jobs"].elements
                pages += 1
                guard let next = page.json["next"].text else { break }
                path = next
            }
            #expect(found.map { $0["id"].text } == whole.json["jobs"].elements.map { $0["id"].text } && pages == 3)
        }
    }

    @Test("a page looks at a limited part of the range, and an empty page may have a next") func bounds() async throws {
        try await TestService.with { service in
            let store = service.ledger.store
            try await service.ledger.queue("early")
            // More than a page's part of the range, and than the events that are folded one by one.
            try await service.ledger.queue("long", total: 60_000)
            let lines = (1...Int(ChangePage.mostScanned)).map {
                AppendRequest(
                    job: "long", events: [NewEvent(type: "progress", data: #"{"completed":\#($0)}"#)])
            }
            for first in stride(from: 0, to: lines.count, by: 10_000) {
                _ = try await store.append(Array(lines[first..<first + 10_000]), timeout: .seconds(120))
            }
            try await service.ledger.queue("late")
            let end = try await store.head()
            var (path, found, counts) = ("/v1/diff?from=2&to=\(end)", [JSON](), [Int]())
            while true {
                let page = try await service.ask("GET", path)
                #expect(page.status == 200, "\(page)")
                found += page.json["jobs"].elements
                counts.append(page.json["jobs"].elements.count)
                guard let next = page.json["next"].text else { break }
                path = next
            }
            #expect(found.map { $0["id"].text } == ["long", "late"] && counts == [1, 1], "\(counts)")
            let changes = found[0]["changes"].elements
            #expect(found[0]["event_count"].number == 50_000)
            // The latest events are looked at one by one; what changed before has no event here.
            let completed = changes.first { $0["column"].text == "completed" }
            #expect(completed?["event"]["position"].number == Int(end) - 1, "\(changes)")
            let status = changes.first { $0["column"].text == "status" }
            #expect(status?["after"].text == "running" && status?["event"].isNull == true, "\(changes)")
        }
    }

    @Test("streams of other categories, with those that are gone") func categories() async throws {
        let projections = [
            try TestProjections.members(), try TestProjections.members("leaving_members", leaving: true),
        ]
        try await TestService.with(projections: projections) { service in
            let owner = try await service.ledger.connect()
            try await TestProjections.installCategories(on: owner)
            for (stream, type, data) in [
                ("u 1", "registered", #"{"email": "a@example.org"}"#),
                ("u 2", "registered", #"{"email": "c@example.org"}"#),
                ("u 1", "updated", #"{"email": "b@example.org"}"#), ("u 2", "removed", "{}"),
            ] {
                #expect(Int(try await TestCategories.append("member", stream, type, data, on: owner)) != nil)
            }
            await owner.close()
            let path = "/v1/diff?from=2&to=4&category=member"
            let gone = try await service.ask("GET", path + "&read_model=leaving_members")
            #expect(gone.json["category"].text == "member" && gone.json["jobs"].isNull, "\(gone)")
            let streams = gone.json["streams"].elements
            #expect(streams.map { $0["id"].text } == ["u 1", "u 2"], "\(gone)")
            #expect(streams[1]["after"].isNull && streams[1]["before"]["email"].text == "c@example.org")
            #expect(
                streams[1]["changes"].elements.map { $0["event"]["type"].text } == ["removed", "removed", "removed"])
            let one = try await service.ask("GET", path + "&read_model=member_rows&stream=u%202")
            #expect(one.json["streams"].elements.map { $0["id"].text } == ["u 2"], "\(one)")
            #expect(one.json["streams"][0]["changes"].elements.map { $0["column"].text } == ["events"])
            let next = try await service.ask("GET", path + "&read_model=member_rows&limit=1").json["next"].text
            #expect(next == "/v1/diff?from=2&to=4&category=member&read_model=member_rows&limit=1&after=3")
            for (query, status) in [
                ("category=member", 400), ("category=member&read_model=x", 400), ("category=plan", 404),
                ("category=nothing", 400), ("category=member&job=a", 400), ("stream=a", 400), ("job=a&stream=a", 400),
                ("category=member&read_model=member_rows&stream=none", 404),
            ] {
                #expect(try await service.ask("GET", "/v1/diff?from=2&to=4&\(query)").status == status, "\(query)")
            }
        }
    }

    @Test("what cannot be asked") func bad() async throws {
        try await TestService.with { service in
            for job in ["a", "b"] + BlameTests.oddIDs { try await service.ledger.queue(job) }
            for query in [
                "", "from=0", "to=1", "from=2&to=1", "from=x&to=1", "from=0&to=-1", "from=0&to=1&limit=0",
                "from=0&to=1&limit=1001", "from=0&to=1&after=x", "from=0&to=1&job=a&after=1", "from=0&to=1&jobs=a",
                "from=0&from=1&to=1", "from=2999-01-01T00:00:00Z&to=1",
            ] {
                let answer = try await service.ask("GET", "/v1/diff?\(query)")
                #expect(answer.status == 400 && answer.code == "invalid_request", "\(query): \(answer)")
            }
            for query in ["from=0&to=2&job=none", "from=0&to=1&job=b"] {
                let answer = try await service.ask("GET", "/v1/diff?\(query)")
                #expect(answer.status == 404 && answer.code == "unknown_job", "\(query): \(answer)")
            }
            for id in BlameTests.oddIDs {
                let answer = try await service.ask("GET", "/v1/diff?from=0&to=99&job=\(Query.encoded(id))")
                #expect(answer.json["jobs"].elements.map { $0["id"].text } == [id], "\(answer)")
            }
            let after = try await service.ask("GET", "/v1/diff?from=0&to=2&after=4611686018427387903")
            #expect(after.status == 200 && after.json["jobs"].elements.isEmpty && after.json["next"].isNull, "\(after)")
        }
    }
}
