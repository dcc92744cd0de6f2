import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import LedgerTesting
import Testing

@Suite("lists of jobs over HTTP") struct JobListRouteTests {
    /// Appends a history, and waits until the read models have it.
    ///
    ///     1 queued  a  Alpha one, by ada, at 10:00
    ///     2 queued  b  beta 100%, by bob, at 10:01, local
    ///     3 progress a 1 of 4
    ///     4 queued  c  <b>Gamma</b>, by nobody, at 10:02
    ///     5 truncated b
    ///     6 failed  b  Out of memory
    ///     7 progress a 3
    ///     8 progress c 2
    ///     9 finished a, at 10:30
    private static func fill(_ service: TestService) async throws {
        func append(
            _ job: JobID, _ type: String, _ data: String, _ minute: Int, _ metadata: String = "{}"
        ) async throws {
            let moment = try #require(Timestamp("2026-01-01T10:\(minute < 10 ? "0" : "")\(minute):00Z"))
            _ = try await service.ledger.store.append(
                NewEvent(type: type, data: data, metadata: metadata, occurredAt: moment), to: job)
        }
        let spy = #"[{"name":"ticker","values":["SPY",5],"count":2}]"#
        try await append(
            "a", "queued", #"{"name":"Alpha one","total":4,"variables":\#(spy)}"#, 0, #"{"actor":"ada","run":7}"#)
        try await append(
            "b", "queued", #"{"name":"beta 100%","kind":"local"}"#, 1, #"{"actor":"bob","run":"7","a:b":true}"#)
        try await append("a", "progress", #"{"completed":1}"#, 5)
        try await append("c", "queued", #"{"name":"<b>Gamma</b>"}"#, 2)
        try await append("b", "truncated", #"{"reason":"r"}"#, 6)
        try await append("b", "failed", #"{"error":"Out of memory"}"#, 7)
        try await append("a", "progress", #"{"completed":3}"#, 8)
        try await append("c", "progress", #"{"completed":2}"#, 9)
        try await append("a", "finished", #"{"view_url":"v"}"#, 30)
        for path in ["/v1/jobs", "/v1/job-counts"] {
            #expect(try await service.ask("GET", path + "?min_position=9").status == 200)
        }
    }

    private static func ids(_ service: TestService, _ query: String) async throws -> [String] {
        let page = try await service.ask("GET", "/v1/jobs?\(query)")
        #expect(page.status == 200, "\(query): \(page)")
        return page.json["jobs"].elements.compactMap { $0["id"].text }
    }

    @Test("each condition and each order, now and at a past position") func conditions() async throws {
        try await TestService.with(projecting: true) { service in
            try await Self.fill(service)
            for (query, expected) in [
                ("", "c b a"), ("status=finished", "a"), ("status=finished&status=running", "c a"),
                ("status=queued&status=running&status=finished&status=failed", "c b a"), ("kind=local", "b"),
                ("actor=ada", "a"), ("actor=ad", ""), ("actor=", ""), ("q=ALPHA", "a"), ("q=100%25", "b"),
                ("q=of+mem", "b"), ("q=%3Cb%3E", "c"), ("q=_", ""), ("q=", "c b a"),
                ("since=2026-01-01T10:01:00Z", "c b"), ("until=2026-01-01T10:01:00Z", "b a"),
                ("since=2026-01-01T11:01:30%2B01:00&until=2026-01-01T10:02:00Z", "c"), ("variable=ticker", "a"),
                ("variable=ticker:SPY", "a"), ("variable=ticker:5", "a"), ("variable=ticker:spy", ""),
                ("variable=tick", ""), ("metadata=run:7", "b a"), ("metadata=run:7&metadata=actor:bob", "b"),
                ("metadata=run:8", ""), ("metadata=a:b:true", ""), ("truncated=true", "b"), ("truncated=false", "c a"),
                ("order=asc", "a b c"), ("sort=started", "c a b"), ("sort=started&order=asc", "a c b"),
                ("sort=ended", "a b c"), ("sort=name", "c a b"), ("sort=name&order=desc", "b a c"),
                ("sort=took", "a b c"), ("sort=took&order=asc", "b a c"), ("sort=updated", "a c b"),
                ("at=4", "c b a"), ("at=1", "a"), ("at=0", ""), ("at=5&status=queued", "c b"),
                ("at=5&status=running", "a"), ("at=5&status=failed", ""), ("at=6&status=failed", "b"),
                ("at=4&truncated=true", ""), ("at=5&truncated=true", "b"), ("at=5&q=memory", ""),
                ("at=5&sort=updated", "b c a"), ("at=7&sort=updated", "a b c"), ("at=5&sort=ended", "c b a"),
                ("at=6&sort=started", "a c b"), ("at=99", "c b a"), ("at=2999-01-01T00:00:00Z", "c b a"),
                ("at=2000-01-01T00:00:00Z", ""),
            ] {
                #expect(try await Self.ids(service, query).joined(separator: " ") == expected, "\(query)")
            }
        }
    }

    @Test("a list at a moment has each job as it was then, and names the moment") func moments() async throws {
        try await TestService.with(projecting: true) { service in
            try await Self.fill(service)
            for position in 1...9 {
                let page = try await service.ask("GET", "/v1/jobs?at=\(position)")
                #expect(page.json["position"].number == position && page.json["more"].bool == false)
                #expect(page.headers["ledger-position"] == "\(position)")
                for listed in page.json["jobs"].elements {
                    let id = try #require(listed["id"].text)
                    let then = try await service.ask("GET", "/v1/jobs/\(id)?at=\(position)")
                    for name in [
                        "name", "kind", "status", "total", "completed", "created_at", "updated_at", "completed_at",
                        "error", "truncated", "view_url", "csv_url",
                    ] {
                        #expect(
                            listed[name].description == then.json[name].description, "\(id) at \(position): \(name)")
                    }
                }
            }
            let job = try await service.ask("GET", "/v1/jobs?at=7&actor=ada").json["jobs"][0]
            #expect(job["started_at"].text == "2026-01-01T10:05:00+00:00" && job["actor"].text == "ada")
            #expect(job["queued_position"].number == 1 && job["last_position"].number == 7)
            #expect(job["last_version"].number == 3 && job["last_recorded_at"].text != nil)
        }
    }

    @Test("pages by the last job and by a number, all of one moment") func pages() async throws {
        try await TestService.with(projecting: true) { service in
            for number in 1...7 { try await service.ledger.queue("job & \(number)") }
            for number in 1...3 { try await service.ledger.progress("job & \(number)", 1) }
            #expect(try await service.ask("GET", "/v1/jobs?min_position=10").status == 200)
            func all(_ query: String) async throws -> [String] {
                var ids: [String] = []
                var next: String? = "/v1/jobs?\(query)"
                while let path = next {
                    let page = try await service.ask("GET", path)
                    #expect(page.status == 200 && page.json["more"].bool == (page.json["next"].text != nil), "\(page)")
                    ids += page.json["jobs"].elements.compactMap { $0["id"].text }
                    next = page.json["next"].text
                    if query.contains("at=") { #expect(page.json["position"].number == 8) }
                    try await service.ledger.progress("job & 4", 1)
                }
                return ids
            }
            func jobs(_ numbers: [Int]) -> [String] { numbers.map { "job & \($0)" } }
            let sorted = "limit=2&at=8&sort=started&order=asc"
            #expect(try await all("limit=3&at=8") == jobs([7, 6, 5, 4, 3, 2, 1]))
            #expect(try await all("limit=3&at=8&offset=2") == jobs([5, 4, 3, 2, 1]))
            #expect(try await all(sorted) == jobs([1, 2, 3, 4, 5, 6, 7]))
            #expect(try await all(sorted + "&offset=1") == jobs([2, 3, 4, 5, 6, 7]))
            #expect(try await all("limit=2&at=8&status=queued&q=JOB+%26") == jobs([7, 6, 5, 4, 3, 2]))
            #expect(try await all("limit=2&offset=9").isEmpty)
        }
    }

    @Test("what is malformed is said") func refusals() async throws {
        try await TestService.with(projecting: true) { service in
            try await service.ledger.queue("a")
            #expect(try await service.ask("GET", "/v1/jobs?min_position=1").status == 200)
            for (query, detail) in [
                ("status=done", "\"status\" must be one of queued, running, finished, failed, not \"done\""),
                ("status=queued&status=", "\"status\" must be one of"), ("kind=x", "\"kind\" must be one of"),
                ("sort=id", "\"sort\" must be one of queued, started, ended, name, took, updated, not \"id\""),
                ("order=up", "\"order\" must be one of asc, desc"), ("truncated=1", "\"truncated\" must be one of"),
                ("since=noon", "\"since\" must be a time"), ("until=5", "\"until\" must be a time"),
                ("at=noon", "\"at\" must be a position or a time"), ("at=-1", "\"at\" must be a position"),
                ("at=1&min_position=1", "give \"at\" or \"min_position\", not both"),
                ("metadata=team", "\"metadata\" must be KEY:VALUE, not \"team\""),
                ("offset=-1", "\"offset\" must be an integer from 0 to 1000000"),
                ("offset=1000001", "\"offset\" must be an integer"),
                ("offset=1&after=a", "give \"after\" or \"offset\", not both"),
                ("after=b", "\"after\" must be the id of the last job"), ("q=a&q=b", "\"q\" may be given once"),
                ("actor=a&actor=b", "\"actor\" may be given once"), ("q=%00", "U+0000"), ("q=%FF", "percent-encoded"),
                (Array(repeating: "variable=a", count: 21).joined(separator: "&"), "20 times together, not 21"),
                ("colour=red", "there is no query parameter \"colour\" here"),
            ] {
                let answer = try await service.ask("GET", "/v1/jobs?\(query)")
                #expect(answer.status == 400 && answer.code == "invalid_request", "\(query): \(answer)")
                #expect(answer.json["detail"].text?.contains(detail) == true, "\(query): \(answer)")
            }
            // What looks like SQL, JSON or a pattern finds nothing, and breaks nothing.
            for hostile in [
                "'; DROP TABLE job_list; --", "\"", "\\", "%", "]}", #"{"a":1}"#, "1e999999999", "-", "\u{1}", "🙂",
            ] {
                let text = percentEncoded(hostile)
                for name in ["q", "actor", "variable", "variable=x:", "metadata=x:"] {
                    let parameter = name.contains("=") ? name + text : "\(name)=\(text)"
                    #expect(try await Self.ids(service, parameter).isEmpty, "\(parameter)")
                }
            }
            #expect(try await Self.ids(service, "") == ["a"])
            for bad in ["at=x", "at=1&min_position=1", "status=queued"] {
                #expect(try await service.ask("GET", "/v1/job-counts?\(bad)").status == 400, "\(bad)")
            }
        }
    }

    @Test("counts by state, now and at every position") func counts() async throws {
        try await TestService.with(projecting: true) { service in
            try await Self.fill(service)
            for (position, expected) in [
                [0, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0], [1, 1, 0, 0], [2, 1, 0, 0], [2, 1, 0, 0], [1, 1, 0, 1],
                [1, 1, 0, 1], [0, 2, 0, 1], [0, 1, 1, 1],
            ].enumerated() {
                for query in position == 9 ? ["", "?at=9", "?min_position=9"] : ["?at=\(position)"] {
                    let answer = try await service.ask("GET", "/v1/job-counts\(query)")
                    let counts = ["queued", "running", "finished", "failed"].map { answer.json[$0].number }
                    #expect(answer.json["position"].number == position && counts == expected, "\(query): \(answer)")
                    #expect(answer.headers["ledger-position"] == "\(position)")
                }
            }
        }
    }

    @Test("before a projector has run, lists and counts say so") func notProjected() async throws {
        try await TestService.with(settings: .changed { $0.wait = .seconds(1) }) { service in
            for path in ["/v1/jobs", "/v1/job-counts", "/v1/jobs?at=0"] {
                let answer = try await service.ask("GET", path)
                #expect(answer.status == 503 && answer.code == "not_projected_yet", "\(path): \(answer)")
            }
            try await service.ledger.queue("a")
            let answer = try await service.ask("GET", "/v1/jobs?at=1")
            #expect(answer.status == 503 && answer.json["position"].number == 0, "\(answer)")
        }
    }
}
