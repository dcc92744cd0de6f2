import Foundation
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

/// What is told, and what is recorded, of refused appends to streams of other categories.
@Suite("refusals of other categories") struct CategoryRefusalTests {
    /// A category whose `email` is personal and unique, and whose `nick` is unique only.
    private static let person = """
        {"name": "person", "life": {"": ["met"], "met": ["met"]},
         "unique": [{"key": "email", "ignoring_case": true}, {"key": "nick"}], "personal": ["email"]}
        """

    private func withPersons(_ body: @Sendable (TestService) async throws -> Void) async throws {
        try await TestService.with { service in
            let owner = try await service.ledger.connect()
            try await TestCategories.install(Self.person, "1", "BEGIN RETURN null; END", on: owner)
            try await TestCategories.install(on: owner)
            await owner.close()
            try await body(service)
        }
    }

    private func refusals(_ service: TestService, _ question: String, atLeast count: Int) async throws -> [JSON] {
        try await eventually("\(count) refusals are written") {
            let list = try await service.ask("GET", "/v1/audit/refusals?order=oldest\(question)").json["refusals"]
                .elements
            return list.count >= count ? list : nil
        }
    }

    @Test("a refusal is recorded with its stream, and can be found by it") func recorded() async throws {
        try await withPersons { service in
            let met = #"{"type": "met", "data": {"nick": "n"}}"#
            #expect(try await service.ask("POST", "/v1/streams/person/same/events", met).status == 201)
            #expect(try await service.ask("POST", "/v1/streams/person/p-2/events", met).status == 409)
            #expect(try await service.ask("POST", "/v1/streams/person/p-3/events", "{").status == 400)
            #expect(try await service.ask("POST", "/v1/streams/person/p-4/events", met, token: "").status == 401)
            #expect(try await service.ask("POST", "/v1/streams/nothing/same/events", met).status == 422)
            #expect(try await service.append(#"{"type": "finished"}"#, to: "same").status == 404)
            let many = #"[{"category": "user", "stream": "same", "type": "updated"}]"#
            #expect(try await service.ask("POST", "/v1/events", many).status == 200)

            let all = try await refusals(service, "", atLeast: 6)
            #expect(
                all.map { "\($0["category"].text ?? "") \($0["job"].text ?? "") \($0["code"].text ?? "")" } == [
                    "person p-2 not_unique", "person p-3 malformed_json", "person p-4 unauthorized",
                    "nothing same invalid_event", "job same unknown_job", "user same unknown_job",
                ])
            #expect(all[0]["type"].text == "met" && all[0]["path"].text == "/v1/streams/{category}/{id}/events")
            func codes(_ question: String, _ count: Int) async throws -> [String?] {
                try await refusals(service, question, atLeast: count).map { $0["category"].text }
            }
            #expect(try await codes("&category=person", 3) == ["person", "person", "person"])
            #expect(try await codes("&category=person&job=p-3", 1) == ["person"])
            // An id alone is that of a job, as in every other command and route.
            #expect(try await codes("&job=same", 1) == ["job"])
            #expect(try await codes("&category=job", 1) == ["job"])
            #expect(try await codes("&category=user&job=same", 1) == ["user"])
            // The next page has the same filter.
            let page = try await service.ask("GET", "/v1/audit/refusals?category=person&limit=2")
            let next = try #require(page.json["next"].text)
            #expect(next.contains("category=person&"), "\(next)")
            #expect(try await service.ask("GET", next).json["refusals"].elements.count == 1)
        }
    }

    @Test("a row without a category is of a job, and an older service may still write one") func older() async throws {
        try await withPersons { service in
            let connection = try await service.ledger.connect()
            try await connection.query(
                """
                SELECT note_refusals('{1}', '{1}', '{1}', null, '{192.0.2.1}', '{POST}',
                                     '{"/v1/jobs/{id}/events"}', null, '{old}', null, null, '{unknown_job}', '{d}')
                """)
            await connection.close()
            #expect(try await refusals(service, "&job=old", atLeast: 1).map { $0["category"].text } == ["job"])
        }
    }

    @Test("no message of the ledger, and so no record, has a personal value") func personal() async throws {
        try await withPersons { service in
            func refused(_ stream: String, _ data: String) async throws -> String {
                let answer = try await service.ask(
                    "POST", "/v1/streams/person/\(stream)/events", #"{"type": "met", "data": \#(data)}"#)
                #expect(answer.status == 409 || answer.status == 422, "\(answer)")
                return answer.json["detail"].text ?? ""
            }
            let ada = #"{"type": "met", "data": {"email": "Ada@example.org", "nick": "ada-nick"}}"#
            #expect(try await service.ask("POST", "/v1/streams/person/p-1/events", ada).status == 201)
            #expect(
                try await refused("p-2", #"{"email": "ada@example.org"}"#)
                    == #"the value of "email" belongs to another person: it must be unique"#)
            #expect(try await refused("p-3", #"{"email": ["ada@example.org"]}"#) == #""email" must be a text or null"#)
            // What is not personal is quoted, because that helps.
            #expect(
                try await refused("p-4", #"{"nick": "ada-nick"}"#)
                    == #""nick" "ada-nick" belongs to another person: it must be unique"#)
            #expect(try await refused("p-5", #"{"nick": 7}"#) == #""nick" must be a text or null, not 7"#)
            _ = try await refusals(service, "", atLeast: 4)
            let connection = try await service.ledger.connect()
            let text: String = try await connection.query("SELECT string_agg(r::text, ' ') FROM refusals AS r").only()
                .decode(0)
            #expect(!text.lowercased().contains("ada@example.org"), "\(text)")
            #expect(text.contains("ada-nick"))
            await connection.close()
        }
    }

    @Test("who may also read is told the stream that holds the value") func holder() async throws {
        try await withPersons { service in
            let met = #"{"type": "met", "data": {"nick": "n"}}"#
            #expect(try await service.ask("POST", "/v1/streams/person/p%201/events", met).status == 201)
            let appender = try await service.tokens.create([.append], name: "appender").text
            let both = try await service.tokens.create([.append, .read], name: "both").text
            let single = "/v1/streams/person/p-2/events"
            let array = #"[{"type": "met", "data": {"nick": "m"}}, \#(met)]"#
            let many = """
                [{"category": "person", "stream": "p-3", "type": "met", "data": {"nick": "k"}},
                 {"category": "person", "stream": "p-2", "type": "met", "data": {"nick": "n"}},
                 {"job": "j", "type": "queued", "data": {"name": "n"}},
                 {"category": "person", "stream": "p-2", "type": "met", "data": {"nick": "k"}}]
                """
            for body in [met, array] {
                let told = try await service.ask("POST", single, body, token: both)
                #expect(told.status == 409 && told.code == "not_unique", "\(told)")
                #expect(told.json["holder"]["key"].text == "nick", "\(told)")
                #expect(told.json["holder"]["stream"].text == "p 1", "\(told)")
                let untold = try await service.ask("POST", single, body, token: appender)
                #expect(untold.status == 409 && untold.json["holder"].isNull, "\(untold)")
                #expect(!untold.text.contains("p 1"), "\(untold)")
                #expect(untold.json["detail"].text == told.json["detail"].text)
            }
            let told = try await service.ask("POST", "/v1/events", many, token: both)
            #expect(
                told.json["results"].elements.map { $0["error"]["holder"]["stream"].text } == [nil, "p 1", nil, "p-3"],
                "\(told)")
            let untold = try await service.ask("POST", "/v1/events", many, token: appender)
            #expect(untold.status == 200 && !untold.text.contains("holder"), "\(untold)")
            // Each of the eight is recorded once, and without the holder.
            let recorded = try await eventually("all refusals are written") {
                let list = try await refusals(service, "&code=not_unique", atLeast: 1)
                return list.reduce(0) { $0 + ($1["times"].number ?? 0) } >= 8 ? list : nil
            }
            #expect(recorded.reduce(0) { $0 + ($1["times"].number ?? 0) } == 8, "\(recorded)")
            #expect(recorded.allSatisfy { $0["detail"].text?.contains("p 1") == false }, "\(recorded)")
        }
    }

    @Test("metrics have a label for each type that was appended, and for none that was refused")
    func labels() async throws {
        try await withPersons { service in
            for (stream, type) in [("person/p", "met"), ("person/p", "nope"), ("nope/p", "met"), ("user/u", "met")] {
                _ = try await service.ask("POST", "/v1/streams/\(stream)/events", #"{"type": "\#(type)"}"#)
            }
            let lines = try await service.ask("GET", "/metrics").text.split(separator: "\n").filter {
                $0.hasPrefix("jobledger_events_appended_total{")
            }
            let ofOthers = lines.filter { $0.contains(".") }
            #expect(ofOthers == [#"jobledger_events_appended_total{type="person.met"} 1"#], "\(lines)")
            #expect(lines.count == 6, "\(lines)")
        }
    }

    @Test("a refusal is answered as before where the holder cannot be asked") func withoutRight() async throws {
        try await withPersons { service in
            let met = #"{"type": "met", "data": {"nick": "n"}}"#
            #expect(try await service.ask("POST", "/v1/streams/person/p-1/events", met).status == 201)
            let connection = try await service.ledger.connect()
            try await connection.execute(script: "ALTER FUNCTION other_holder RENAME TO elsewhere")
            let answer = try await service.ask("POST", "/v1/streams/person/p-2/events", met)
            #expect(answer.status == 409 && answer.code == "not_unique" && answer.json["holder"].isNull, "\(answer)")
            await connection.close()
        }
    }
}
