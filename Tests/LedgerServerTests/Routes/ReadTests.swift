import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import LedgerTesting
import Testing

@Suite("reading over HTTP") struct ReadTests {
    @Test("a job at the requested position, and as it was before") func job() async throws {
        try await TestService.with(projecting: true) { service in
            _ = try await service.ledger.queue("a", total: 10)
            _ = try await service.ledger.progress("a", 3)
            _ = try await service.ledger.progress("a", 7)
            let now = try await service.ask("GET", "/v1/jobs/a?min_position=3")
            #expect(now.status == 200 && now.json["completed"].number == 7 && now.json["status"].text == "running")
            #expect(now.headers["ledger-position"] == "3")
            let then = try await service.ask("GET", "/v1/jobs/a?at=2")
            #expect(then.json["completed"].number == 3 && then.headers["ledger-position"] == "2", "\(then)")
            let event = try #require(try await service.ledger.store.page(EventQuery(after: 1)).first)
            let moment = try await service.ask("GET", "/v1/jobs/a?at=\(percentEncoded(event.recordedAt.description))")
            #expect(moment.json["completed"].number == 3, "\(moment)")
            #expect(try await service.ask("GET", "/v1/jobs/a?at=0").status == 404)
            #expect(try await service.ask("GET", "/v1/jobs/a?at=999").headers["ledger-position"] == "3")
            for bad in [
                "at=-1", "at=soon", "min_position=x", "at=1&min_position=1", "min_position=1&min_position=2", "atk=1",
                "at=%zz",
            ] {
                let answer = try await service.ask("GET", "/v1/jobs/a?\(bad)")
                #expect(answer.status == 400 && answer.code == "invalid_request", "\(bad): \(answer)")
            }
            let unknown = try await service.ask("GET", "/v1/jobs/b")
            #expect(unknown.status == 404 && unknown.code == "unknown_job")
        }
    }

    @Test("a wait for a position that is not reached ends with the position that is") func behind() async throws {
        try await TestService.with(projecting: true, settings: .changed { $0.wait = .seconds(1) }) { service in
            _ = try await service.ledger.queue("a")
            _ = try await service.ask("GET", "/v1/jobs/a?min_position=1")
            for path in ["/v1/jobs/a", "/v1/jobs", "/v1/jobs/a/runs"] {
                let answer = try await service.ask("GET", path + "?min_position=5")
                #expect(answer.status == 503 && answer.code == "not_projected_yet")
                #expect(answer.json["position"].number == 1 && answer.json["min_position"].number == 5, "\(answer)")
                #expect(answer.headers["retry-after"] != nil)
            }
        }
    }

    @Test("one append ends many concurrent waits") func waiting() async throws {
        try await TestService.with(projecting: true) { service in
            _ = try await service.ledger.queue("a", total: 9)
            try await withThrowingTaskGroup(of: Int?.self) { group in
                for _ in 0..<50 {
                    group.addTask { try await service.ask("GET", "/v1/jobs/a?min_position=2").json["completed"].number }
                }
                _ = try await service.ledger.progress("a", 9)
                for try await completed in group { #expect(completed == 9) }
            }
        }
    }

    @Test("jobs in pages, newest first, by status and kind") func jobs() async throws {
        try await TestService.with(projecting: true) { service in
            for number in 1...7 { try await service.ledger.queue("job & \(number)") }
            _ = try await service.ledger.progress("job & 2", 1)
            let last = try await service.ledger.store.append(
                NewEvent(type: "failed", data: #"{"error":"e"}"#), to: "job & 3")
            var ids: [String] = []
            var next: String? = "/v1/jobs?limit=3&min_position=\(last.position)"
            while let path = next {
                let page = try await service.ask("GET", path)
                #expect(page.status == 200 && page.headers["ledger-position"] == "9", "\(page)")
                ids += page.json["jobs"].elements.compactMap { $0["id"].text }
                next = page.json["next"].text
            }
            #expect(ids == (1...7).reversed().map { "job & \($0)" })
            func list(_ query: String) async throws -> [String?] {
                try await service.ask("GET", "/v1/jobs?\(query)").json["jobs"].elements.map { $0["id"].text }
            }
            #expect(try await list("status=failed") == ["job & 3"])
            #expect(try await list("status=running&kind=server") == ["job & 2"])
            #expect(try await list("kind=local") == [])
            for bad in [
                "status=done", "kind=x", "limit=0", "limit=1001", "limit=ten", "after=nothing", "after=%00",
                "order=asc",
            ] {
                #expect(try await service.ask("GET", "/v1/jobs?\(bad)").status == 400, "\(bad)")
            }
        }
    }

    @Test("runs in pages") func runs() async throws {
        try await TestService.with(projecting: true) { service in
            _ = try await service.ledger.queue("a")
            let runs = (0..<5).map { #"{"run_index":\#($0),"variables":{"n":\#($0)},"metrics":{"m":1}}"# }.joined(
                separator: ",")
            let appended = try await service.ledger.store.append(
                NewEvent(type: "progress", data: #"{"completed":5,"runs":[\#(runs)]}"#), to: "a")
            let first = try await service.ask("GET", "/v1/jobs/a/runs?limit=3&min_position=\(appended.position)")
            #expect(first.json["runs"].elements.map { $0["run_index"].number } == [0, 1, 2])
            #expect(first.json["runs"][1]["variables"]["n"].number == 1)
            let rest = try await service.ask("GET", try #require(first.json["next"].text))
            #expect(rest.json["runs"].elements.map { $0["run_index"].number } == [3, 4] && rest.json["next"].isNull)
            #expect(try await service.ask("GET", "/v1/jobs/b/runs").status == 404)
        }
    }

    @Test("events in pages: of all jobs and of one, by type") func events() async throws {
        try await TestService.with { service in
            for job in ["a", "b"] { try await service.ledger.queue(job) }
            for number in 1...6 { try await service.ledger.progress(number.isMultiple(of: 2) ? "a" : "b", number) }
            func positions(_ path: String) async throws -> [[String]] {
                var (pages, next): ([[String]], String?) = ([], path)
                while let path = next {
                    let page = try await service.ask("GET", path)
                    #expect(page.status == 200, "\(page)")
                    pages.append(page.json["events"].elements.compactMap { $0["position"].text })
                    next = page.json["next"].text
                }
                return pages
            }
            #expect(try await positions("/v1/events?limit=5") == [["1", "2", "3", "4", "5"], ["6", "7", "8"]])
            #expect(try await positions("/v1/events?after=6") == [["7", "8"]])
            #expect(try await positions("/v1/events?after=head") == [[]])
            #expect(try await positions("/v1/events?type=queued&type=failed") == [["1", "2"]])
            #expect(try await positions("/v1/jobs/a/events?limit=2") == [["1", "4"], ["6", "8"]])
            #expect(try await positions("/v1/jobs/a/events?after=3") == [["8"]])
            #expect(try await service.ask("GET", "/v1/jobs/none/events").status == 404)
            // A client that polls from there would skip positions 9 to 99.
            #expect(try await positions("/v1/events?after=8") == [[]])
            for beyond in ["after=9", "after=99", "after=99&type=failed&limit=1"] {
                let answer = try await service.ask("GET", "/v1/events?\(beyond)")
                #expect(answer.status == 409 && answer.code == "another_ledger", "\(beyond): \(answer)")
            }
            for bad in ["after=-1", "after=x", "type=done", "limit=0", "job=a", "after=99999999999999999999"] {
                #expect(try await service.ask("GET", "/v1/events?\(bad)").status == 400, "\(bad)")
            }
        }
    }

    @Test("large data is found by its dataref, and ends a page early") func large() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a b")
            let data = #"{"completed":1,"message":"\#(String(repeating: "x", count: 3 << 20))"}"#
            for _ in 0..<3 {
                _ = try await service.ledger.store.append(NewEvent(type: "progress", data: data), to: "a b")
            }
            var stream = try await service.stream("/v1/jobs/a%20b/events")
            let message = try await stream.next(2)[1]
            let reference = try #require(message.json["dataref"].text)
            #expect(message.json["data"].isNull)
            let page = try await service.ask("GET", reference)
            #expect(page.json["events"][0]["position"].text == "2")
            #expect(page.json["events"][0]["data"]["message"].text?.utf8.count == 3 << 20)
            let all = try await service.ask("GET", "/v1/events")
            #expect(all.json["events"].elements.count == 3 && all.json["next"].text != nil)
        }
    }
}
