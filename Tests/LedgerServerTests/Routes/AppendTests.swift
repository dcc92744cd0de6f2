import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

@Suite("append over HTTP") struct AppendTests {
    @Test("one event is answered with its place") func one() async throws {
        try await TestService.with { service in
            let first = try await service.append(#"{"type":"queued","data":{"name":"x"}}"#, to: "a")
            #expect(first.status == 201)
            #expect(first.json["position"].number == 1 && first.json["version"].number == 1)
            #expect(first.json["duplicate"].bool == false)
            let id = try #require(first.json["event_id"].text)
            let events = try await service.ledger.store.page(EventQuery())
            #expect(events.map(\.id.text) == [id])
        }
    }

    @Test("data and metadata are kept byte for byte") func bytes() async throws {
        try await TestService.with { service in
            let data = #"{ "name" : "ü\u00e9😀" ,  "b":1.0, "a":1e2,"total": 3 }"#
            let metadata = #"{"actor":"ada",  "k": [1, 2.50]}"#
            #expect(
                try await service.append(#"{"type":"queued","data":\#(data),"metadata":\#(metadata)}"#, to: "a").status
                    == 201)
            let event = try #require(try await service.ledger.store.page(EventQuery()).first)
            #expect(event.data == data)
            #expect(event.metadata == metadata)
            // It is the same when it is read over HTTP.
            #expect(try await service.ask("GET", "/v1/events").text.contains(#""data":\#(data)"#))
        }
    }

    @Test("an array is written completely or not at all") func array() async throws {
        try await TestService.with { service in
            let whole = try await service.append(
                """
                [{"type":"queued","data":{"name":"x","total":5}},
                 {"type":"progress","data":{"completed":1}},{"type":"finished"}]
                """, to: "a")
            #expect(whole.status == 201)
            #expect(whole.json.elements.map { $0["version"].number } == [1, 2, 3])
            let refused = try await service.append(
                #"[{"type":"queued","data":{"name":"x","total":5}},{"type":"progress","data":{"completed":6}}]"#,
                to: "b")
            #expect(refused.status == 422 && refused.code == "invalid_event", "\(refused)")
            let malformed = try await service.append(#"[{"type":"queued","data":{"name":"x"}},{"typo":1}]"#, to: "b")
            #expect(
                malformed.status == 422 && malformed.json["detail"].text?.hasPrefix("event 1:") == true, "\(malformed)")
            #expect(try await service.ledger.count() == 3)
        }
    }

    @Test("a retry gets the original place, with 200") func retry() async throws {
        try await TestService.with { service in
            let id = EventID.version7().text
            let event = #"{"type":"queued","data":{"name":"x"}}"#
            let first = try await service.append(event, to: "a", headers: ["idempotency-key": id])
            #expect(first.status == 201 && first.json["event_id"].text == id)
            for key in [id, "\"\(id)\"", id.uppercased()] {
                let again = try await service.append(event, to: "a", headers: ["idempotency-key": key])
                #expect(
                    again.status == 200 && again.json["duplicate"].bool == true && again.json["position"].number == 1,
                    "\(again)")
            }
            let inBody = try await service.append(
                #"{"event_id":"\#(id)","type":"queued","data":{"name":"x"}}"#, to: "a")
            #expect(inBody.status == 200)
            let other = try await service.append(
                #"{"type":"queued","data":{"name":"y"}}"#, to: "a", headers: ["idempotency-key": id])
            #expect(other.status == 409 && other.code == "event_id_conflict")
            let two = try await service.append(
                #"{"event_id":"\#(EventID.version7().text)","type":"queued","data":{"name":"x"}}"#, to: "a",
                headers: ["idempotency-key": id])
            #expect(two.status == 400)
            let array = try await service.append("[\(event)]", to: "b", headers: ["idempotency-key": id])
            #expect(array.status == 400)
            let notUUID = try await service.append(event, to: "b", headers: ["idempotency-key": "7"])
            #expect(notUUID.status == 400)
            #expect(try await service.ledger.count() == 1)
        }
    }

    @Test("refusals have their statuses") func refusals() async throws {
        try await TestService.with { service in
            _ = try await service.append(#"{"type":"queued","data":{"name":"x"}}"#, to: "a")
            func refused(_ body: String, _ job: String = "a") async throws -> (Int, String?) {
                let answer = try await service.append(body, to: job)
                #expect(answer.headers["content-type"] == "application/problem+json")
                #expect(answer.json["status"].number == answer.status)
                #expect(answer.json["request_id"].text == answer.headers["x-request-id"])
                return (answer.status, answer.code)
            }
            #expect(try await refused(#"{"type":"progress","data":{"completed":1}}"#, "b") == (404, "unknown_job"))
            #expect(try await refused(#"{"type":"queued","data":{"name":"x"}}"#) == (409, "already_queued"))
            #expect(try await refused(#"{"type":"finished","expected_version":7}"#) == (409, "version_conflict"))
            #expect(try await refused(#"{"type":"started"}"#) == (422, "invalid_event"))
            #expect(try await refused(#"{"type":"progress","data":{"completed":"much"}}"#) == (422, "invalid_event"))
            #expect(
                try await refused(#"{"type":"progress","data":{"message":"\u0000","completed":1}}"#) == (
                    422, "invalid_event"
                ))
            #expect(try await refused(#"{"type":"progress","extra":1}"#) == (422, "invalid_event"))
            #expect(try await refused(#"{"job":"a","type":"progress"}"#) == (422, "invalid_event"))
            #expect(try await refused("[]") == (422, "invalid_event"))
            #expect(try await refused(#"{"type":"progress","#) == (400, "malformed_json"))
            #expect(try await refused("") == (400, "malformed_json"))
            #expect(try await refused("17") == (400, "malformed_json"))
            #expect(try await refused(#"{"type":"progress"} trailing"#) == (400, "malformed_json"))
            let large = String(repeating: "x", count: 8 << 20)
            #expect(
                try await refused(#"{"type":"progress","data":{"completed":1,"message":"\#(large)"}}"#) == (
                    413, "too_large"
                ))
            _ = try await service.append(#"{"type":"failed","data":{"error":"e"}}"#, to: "a")
            #expect(try await refused(#"{"type":"progress","data":{"completed":1}}"#) == (409, "already_ended"))
            #expect(try await service.ledger.count() == 2)
        }
    }

    @Test("JSON beyond the ledger's limits is refused with the ledger's message, however far beyond")
    func boundsOfJSON()
        async throws
    {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            func nested(_ depth: Int) -> String {
                String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
            }
            let cases = [
                (nested(129), "more than 128 levels"), (nested(50_000), "more than 128 levels"),
                (nested(400_000), "more than 128 levels"),
                ("1e400", "range of a double"), ("0e999999999999", "range of a double"),
                ("1e999999999", "range of a double"),
                ("0.\(String(repeating: "1", count: 20_000))", "thousands of digits"),
            ]
            for (value, told) in cases {
                let answer = try await service.append(
                    #"{"type":"progress","data":{"completed":1,"x":\#(value)}}"#, to: "a")
                #expect(
                    answer.status == 422 && answer.json["detail"].text?.contains(told) == true,
                    "\(value.prefix(20)): \(answer)")
            }
            #expect(try await service.ledger.count() == 1)
        }
    }

    @Test("an error quotes only the beginning of a text, even of one letter with a hundred thousand accents")
    func echoes()
        async throws
    {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            let long = "e" + String(repeating: "\u{301}", count: 100_000)
            for body in [
                #"{"type":"\#(long)"}"#, #"{"type":"progress","\#(long)":1}"#,
                #"{"type":"progress","event_id":"\#(long)"}"#,
                #"{"type":"progress","occurred_at":"\#(long)"}"#, #"{"type":"progress","expected_version":"\#(long)"}"#,
                #"{"type":"progress","data":{"completed":"\#(long)"}}"#,
            ] {
                let answer = try await service.append(body, to: "a")
                #expect(
                    (400..<500).contains(answer.status) && answer.body.count < 4000,
                    "\(answer.status) \(answer.body.count)")
            }
            let query = "e" + String(repeating: "%CC%81", count: 2000)
            for path in [
                "/v1/jobs?\(query)=1", "/v1/jobs?status=\(query)", "/v1/events?conflate=\(query)",
                "/v1/audit/proof?event=\(query)",
            ] {
                let answer = try await service.ask("GET", path)
                #expect(
                    answer.status == 400 && answer.body.count < 1000,
                    "\(path.prefix(30)) \(answer.status) \(answer.body.count)")
            }
            // The same holds for what is recorded for an auditor.
            _ = try await eventually("the refusals are recorded") {
                let refusals = try await service.ask("GET", "/v1/audit/refusals")
                let times = refusals.json["refusals"].elements.reduce(0) { $0 + ($1["times"].number ?? 0) }
                return times == 6 && refusals.body.count < 40_000 ? true : nil
            }
        }
    }

    /// One bad value is what Python's json.dumps writes for a Sharpe ratio without variance.
    @Test("a bad item does not affect its neighbours") func neighbours() async throws {
        try await TestService.with { service in
            for (number, bad) in [
                #"{"name":"x","sharpe":NaN}"#, #"{"name":"x","low":-Infinity}"#, "{'name':'x'}", "\"\u{1}\"",
            ]
            .enumerated() {
                let items = (0..<1000).map {
                    #"{"job":"\#(number)-\#($0)","type":"queued","data":\#($0 == 499 ? bad : #"{"name":"x"}"#)}"#
                }
                let answer = try await service.ask("POST", "/v1/events", "[\(items.joined(separator: ",\n"))]")
                let results = answer.json["results"].elements
                #expect(answer.status == 200 && results.count == 1000, "\(bad): \(answer.text.prefix(300))")
                #expect(results.enumerated().allSatisfy { $0.offset == 499 || !$0.element["position"].isNull })
                let error = results[499]["error"]
                #expect(error["code"].text == "invalid_event")
                if number < 2 {
                    #expect(error["message"].text?.contains("write null in its place") == true, "\(error)")
                }
            }
            #expect(try await service.ledger.count() == 4 * 999)
        }
    }

    @Test("a byte order mark is ignored, and \"any\" is an expected version") func marks() async throws {
        try await TestService.with { service in
            let event = #"{"type":"queued","data":{"name":"x"},"expected_version":"any"}"#
            #expect(try await service.append("\u{FEFF}" + event, to: "a").status == 201)
            #expect(try await service.append("\u{FEFF} [\(event)]", to: "b").status == 201)
            let cloudEvent = """
                {"specversion":"1.0","id":"\(EventID.version7().text)","source":"/x",
                 "type":"io.jobledger.job.queued","data":{"name":"x"},"expectedversion":"any"}
                """
            let answer = try await service.ask(
                "POST", "/v1/jobs/c/events", "\u{FEFF}" + cloudEvent, type: "application/cloudevents+json")
            #expect(answer.status == 201, "\(answer)")
            #expect(
                try await service.ledger.store.page(EventQuery()).map(\.data)
                    == Array(repeating: #"{"name":"x"}"#, count: 3))
        }
    }

    @Test("a body of another media type is refused") func otherBodies() async throws {
        try await TestService.with { service in
            for type in ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data; boundary=x"] {
                let answer = try await service.ask(
                    "POST", "/v1/jobs/a/events", #"{"type":"queued","data":{"name":"x"}}"#, type: type)
                #expect(answer.status == 415 && answer.code == "unsupported_media_type", "\(type): \(answer)")
            }
            let charset = try await service.ask(
                "POST", "/v1/jobs/a/events", #"{"type":"queued","data":{"name":"x"}}"#,
                type: "Application/JSON; charset=utf-8")
            #expect(charset.status == 201)
        }
    }

    @Test("unusual job ids are one segment of the path") func oddIDs() async throws {
        try await TestService.with(projecting: true) { service in
            for (number, job) in ["a b", "a/b", "é😀", "%2F", "..", "a?b#c", "\"quoted\""].enumerated() {
                let path = "/v1/jobs/\(percentEncoded(job))"
                let answer = try await service.ask("POST", path + "/events", #"{"type":"queued","data":{"name":"x"}}"#)
                #expect(answer.status == 201, "\(job): \(answer)")
                let row = try await service.ask("GET", "\(path)?min_position=\(number + 1)")
                #expect(row.json["id"].text == job, "\(row)")
            }
            let raw = try RawConnection(service.url)
            try raw.send(
                RawRequest.get("/v1/jobs/%ff", service.token, "connection: close")
            )
            #expect(try await raw.answer().hasPrefix("HTTP/1.1 400 "))
            #expect(try await service.ask("GET", "/v1/jobs//events").status == 404)
        }
    }

    @Test("events of many jobs are written in order, each by itself") func manyJobs() async throws {
        try await TestService.with { service in
            let answer = try await service.ask(
                "POST", "/v1/events",
                """
                [{"job":"a","type":"queued","data":{"name":"x"}},
                 {"job":"none","type":"truncated","data":{"reason":"r"}}, {"job":"a"}, 5,
                 {"job":"b","type":"queued","data":{"name":"x"}}, {"job":"a","type":"progress","data":{"completed":1}}]
                """)
            #expect(answer.status == 200)
            let results = answer.json["results"].elements
            #expect(results.map { $0["position"].number } == [1, nil, nil, nil, 2, 3])
            #expect(
                results.map { $0["error"]["code"].text } == [
                    nil, "unknown_job", "invalid_event", "invalid_event", nil, nil,
                ])
            #expect(try await service.ask("POST", "/v1/events", "[]").json["results"].elements.isEmpty)
            #expect(try await service.ask("POST", "/v1/events", "[{").status == 400)
        }
    }

    @Test("thousands of events in a request keep their order") func thousands() async throws {
        try await TestService.with { service in
            let events = (0..<3000).map { number in
                let type = number < 7 ? "queued" : "progress"
                return #"{"job":"j\#(number % 7)","type":"\#(type)","data":{"name":"x","completed":\#(number)}}"#
            }
            let answer = try await service.ask("POST", "/v1/events", "[" + events.joined(separator: ",") + "]")
            #expect(answer.json["results"].elements.map { $0["position"].number } == (1...3000).map { $0 })
        }
    }

    @Test("concurrent callers share commits, and each gets its own answer") func together() async throws {
        try await TestService.with { service in
            _ = try await service.ask(
                "POST", "/v1/events",
                "[" + (0..<8).map { #"{"job":"j\#($0)","type":"queued","data":{"name":"x"}}"# }.joined(separator: ",")
                    + "]")
            let positions = try await withThrowingTaskGroup(of: [Int].self) { group in
                for caller in 0..<32 {
                    group.addTask {
                        var positions: [Int] = []
                        for number in 0..<10 {
                            let answer = try await service.append(
                                #"{"type":"progress","data":{"completed":\#(number)}}"#, to: "j\(caller % 8)")
                            #expect(answer.status == 201)
                            positions.append(answer.json["position"].number ?? 0)
                        }
                        return positions
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(positions.sorted() == Array(9...328))
        }
    }
}

func percentEncoded(_ text: String) -> String {
    text.utf8.map { "%" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
