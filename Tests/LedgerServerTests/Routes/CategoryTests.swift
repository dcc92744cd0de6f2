import EventStore
import Foundation
import LedgerCore
import LedgerServer
import LedgerTesting
import Postgres
import Testing

@Suite("streams of other categories over HTTP") struct CategoryTests {
    private func withCategories(_ body: @Sendable (TestService) async throws -> Void) async throws {
        try await TestService.with { service in
            let owner = try await service.ledger.connect()
            try await TestCategories.install(on: owner)
            await owner.close()
            try await body(service)
        }
    }

    @Test("each rule is refused with its code, and nothing is written") func refusals() async throws {
        try await withCategories { service in
            func append(_ stream: String, _ body: String) async throws -> (Int, String?) {
                let answer = try await service.ask("POST", "/v1/streams/\(stream)/events", body)
                return (answer.status, answer.code)
            }
            let ada = #"{"type": "registered", "data": {"email": "ada@example.com"}}"#
            #expect(try await append("user/u-1", #"{"type": "updated"}"#) == (404, "unknown_job"))
            #expect(try await append("user/u-1", ada) == (201, nil))
            #expect(try await append("user/u-1", ada) == (409, "already_queued"))
            #expect(try await append("user/u-2", ada) == (409, "not_unique"))
            #expect(
                try await append("user/u-2", #"{"type": "registered", "data": {"email": 7}}"#)
                    == (422, "invalid_event"))
            #expect(
                try await append("strategy/s", #"{"type": "saved", "data": {"user_id": "u-9"}}"#)
                    == (422, "unknown_reference"))
            #expect(try await append("nothing/x", ada) == (422, "invalid_event"))
            #expect(try await append("user/u-1", #"{"type": "removed"}"#) == (201, nil))
            #expect(try await append("user/u-1", #"{"type": "updated"}"#) == (409, "already_ended"))
            #expect(try await service.ledger.count() == 2)
            // The holder of an address is nobody's business who may only append.
            let refused = try await service.ask("POST", "/v1/streams/user/u-3/events", ada)
            #expect(refused.status == 201, "\(refused.text)")
            let appender = try await service.tokens.create([.append], name: "appender").text
            let again = try await service.ask("POST", "/v1/streams/user/u-4/events", ada, token: appender)
            #expect(again.code == "not_unique" && !again.text.contains("u-3"), "\(again.text)")
        }
    }

    @Test("/v1/jobs is the same as /v1/streams/job") func jobs() async throws {
        try await withCategories { service in
            let queued = #"{"type": "queued", "data": {"name": "n"}}"#
            #expect(try await service.ask("POST", "/v1/streams/job/a/events", queued).status == 201)
            #expect(try await service.append(#"{"type": "progress", "data": {"completed": 1}}"#, to: "a").status == 201)
            let one = try await service.ask("GET", "/v1/streams/job/a/events")
            let other = try await service.ask("GET", "/v1/jobs/a/events")
            #expect(one.status == 200 && one.json["events"].elements.count == 2, "\(one.text)")
            let ids = other.json["events"].elements.map { $0["id"].text }
            #expect(one.json["events"].elements.map { $0["id"].text } == ids)
        }
    }

    @Test("a batch may have streams of several categories, each with its answer") func batch() async throws {
        try await withCategories { service in
            let answer = try await service.ask(
                "POST", "/v1/events",
                """
                [{"category": "user", "stream": "u-1", "type": "registered", "data": {"email": "a"}},
                 {"job": "u-1", "type": "queued", "data": {"name": "n"}},
                 {"category": "user", "stream": "u-2", "type": "registered", "data": {"email": "A"}},
                 {"category": "strategy", "stream": "s", "type": "saved", "data": {"user_id": "u-1"}}]
                """)
            #expect(answer.status == 200, "\(answer.text)")
            let results = answer.json["results"].elements
            #expect(results.map { $0["position"].number } == [1, 2, nil, 3], "\(answer.text)")
            #expect(answer.text.contains("not_unique"))
        }
    }

    @Test("pages and streams have the events of a category, or of all") func reading() async throws {
        try await withCategories { service in
            for (path, body) in [
                ("user/u 1", #"{"type": "registered", "data": {"email": "a"}}"#),
                ("job/u 1", #"{"type": "queued", "data": {"name": "n"}}"#),
                ("user/u 1", #"{"type": "updated", "data": {}}"#),
            ] {
                let path = "/v1/streams/\(path.replacing(" ", with: "%20"))/events"
                #expect(try await service.ask("POST", path, body).status == 201)
            }
            let page = try await service.ask("GET", "/v1/events?category=user")
            #expect(
                page.json["events"].elements.map { $0["type"].text } == [
                    "io.jobledger.user.registered", "io.jobledger.user.updated",
                ], "\(page.text)")
            var all = try await service.stream("/v1/events")
            #expect(try await all.next(3).map(\.position) == [1, 2, 3])
            var users = try await service.stream("/v1/streams/user/u%201/events", headers: ["last-event-id": "1"])
            #expect(try await users.next()?.position == 3)
            // The end of a job with this id ends no stream of a user.
            _ = try await service.ask("POST", "/v1/jobs/u%201/events", #"{"type": "finished"}"#)
            _ = try await service.ask("POST", "/v1/streams/user/u%201/events", #"{"type": "updated"}"#)
            #expect(try await users.next()?.position == 5)
        }
    }
}
