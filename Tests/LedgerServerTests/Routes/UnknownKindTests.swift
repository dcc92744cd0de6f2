import EventStore
import LedgerClient
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// A misspelled category or type is an error to whoever reads, and not a stream without events.
@Suite("reads of categories and types that there are not") struct UnknownKindTests {
    private static let noCategory = #"there is no category "nope"; there are job"#

    @Test("pages and streams are refused with what an append is told, until the category is installed")
    func category() async throws {
        try await TestService.with { service in
            let sent = try await service.ask("POST", "/v1/streams/nope/x/events", #"{"type": "registered"}"#)
            #expect(sent.status == 422 && sent.json["detail"].text == Self.noCategory, "\(sent)")
            for path in [
                "/v1/events?category=nope", "/v1/events?category=nope&type=queued",
                "/v1/events?category=nope&after=head", "/v1/streams/nope/x/events",
                "/v1/streams/nope/x/events?type=queued&after=7",
            ] {
                let page = try await service.ask("GET", path)
                #expect(page.status == 400 && page.code == "invalid_request", "\(path): \(page)")
                #expect(page.json["detail"].text == Self.noCategory, "\(path): \(page)")
                #expect(try await service.stream(path).status == 400, "\(path)")
            }
            // The service knows it at once.
            let owner = try await service.ledger.connect()
            try await TestCategories.install(
                #"{"name": "nope", "life": {"": ["made"], "made": []}}"#, "1", "BEGIN RETURN null; END", on: owner)
            #expect(try await service.ask("GET", "/v1/events?category=nope").status == 200)
            #expect(try await service.ask("POST", "/v1/streams/nope/x/events", #"{"type": "made"}"#).status == 201)
            var stream = try await service.stream("/v1/streams/nope/x/events")
            #expect(try await stream.next()?.position == 1)
            // There is no such stream, which is something else.
            let missing = try await service.ask("GET", "/v1/streams/nope/y/events")
            #expect(missing.status == 404 && missing.code == "unknown_job", "\(missing)")
            await owner.close()
        }
    }

    @Test("a type that the category does not have is refused likewise") func type() async throws {
        try await TestService.with { service in
            let owner = try await service.ledger.connect()
            try await TestCategories.install(on: owner)
            await owner.close()
            #expect(
                try await service.ask("POST", "/v1/streams/user/x/events", #"{"type": "registered"}"#).status == 201)
            for path in [
                "/v1/events?category=user&type=nope", "/v1/events?category=user&type=registered&type=nope",
                "/v1/streams/user/x/events?type=nope",
            ] {
                let page = try await service.ask("GET", path)
                #expect(page.status == 400 && page.code == "invalid_request", "\(path): \(page)")
                #expect(
                    page.json["detail"].text
                        == "'nope' is not an event type of user; use registered, removed, updated", "\(path): \(page)")
                #expect(try await service.stream(path).status == 400, "\(path)")
            }
            #expect(try await service.ask("GET", "/v1/events?category=user&type=updated").status == 200)
            #expect(try await service.ask("GET", "/v1/streams/user/x/events?type=updated").status == 200)
        }
    }

    @Test("the client throws the refusal, and does not wait for the category") func client() async throws {
        try await TestService.with { service in
            let client = try LedgerClient(url: service.url, token: service.token)
            let nope = try #require(Category("nope"))
            func kind(_ read: () async throws -> Void) async throws -> LedgerClientError.Kind? {
                let error = await #expect(throws: LedgerClientError.self) { try await read() }
                #expect(error?.message == Self.noCategory)
                return error?.kind
            }
            #expect(
                try await kind { for try await _ in client.events(category: nope) {} }
                    == .refused(code: "invalid_request"))
            #expect(
                try await kind { for try await _ in client.history(of: "x", category: nope) {} }
                    == .refused(code: "invalid_request"))
            #expect(
                try await kind { for try await _ in client.subscribe(category: nope) {} }
                    == .refused(code: "invalid_request"))
            #expect(
                try await kind { for try await _ in client.subscribe(category: nope, stream: "x") {} }
                    == .refused(code: "invalid_request"))
        }
    }
}
