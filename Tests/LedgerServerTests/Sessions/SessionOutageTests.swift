import EmbeddedServices
import LedgerCore
import LedgerTesting
import Testing

@testable import LedgerServer

/// While the database is away, sessions are trusted as tokens are, and nobody signs in.
@Suite(.timeLimit(.minutes(5))) struct SessionOutageTests {
    @Test func aKnownSessionOutlivesAnOutage() async throws {
        let server = try await PrivatePostgres.start(
            directory: TestServers.directory("session-postgres"), settings: ["fsync": "off"])
        do {
            try await TestService.with(server: server.url) { service in
                var (browser, other) = (Browser(service), Browser(service))
                #expect(try await browser.signIn(service.token).status == 200)
                #expect(try await browser.ask("GET", "/v1/session").status == 200)
                let code = try await SignInCodes(service.ledger.store).make()
                let cookie = try #require(browser.cookie)
                let name = String(cookie.prefix { $0 != "=" })
                try await server.kill()
                // The answer of before counts for 2 s; after that, there is none now.
                try await eventually("the ledger is not asked in vain") {
                    try await browser.ask("GET", "/v1/events").status == 503 ? () : nil
                }
                #expect(try await browser.ask("GET", "/v1/session").status == 200)
                #expect(try await browser.ask("GET", "/metrics").status == 200)
                let stream = try await service.stream("/v1/events", token: "", headers: ["cookie": cookie])
                #expect(stream.status == 200)
                let unknown = ["cookie": "\(name)=\(SessionSecret.random().text)"]
                #expect(try await other.ask("GET", "/v1/session", headers: unknown).status == 503)
                #expect(try await other.open(code).status == 503)
                #expect(try await other.signIn(service.token).status == 503)
                // It is not ended, so the browser keeps it and can try again.
                #expect(try await browser.ask("DELETE", "/v1/session").status == 503 && browser.cookie != nil)
                try await server.restart()
                try await eventually("the code works") {
                    try await other.open(code).headers["location"] == "/" ? () : nil
                }
                #expect(try await other.ask("GET", "/v1/events").status == 200)
                #expect(try await browser.ask("GET", "/v1/events").status == 200)
                #expect(try await browser.ask("DELETE", "/v1/session").status == 204)
            }
            try await server.stop()
        } catch {
            try await server.stop()
            throw error
        }
    }
}
