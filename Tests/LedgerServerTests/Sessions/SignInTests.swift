import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

/// Addresses that sign a browser in.
@Suite(.timeLimit(.minutes(5))) struct SignInTests {
    private static let used = "/?signed-out=code-used"

    @Test func anAddressWorksOnce() async throws {
        try await TestService.with { service in
            let code = try await SignInCodes(service.ledger.store).make()
            var (browser, other) = (Browser(service), Browser(service))
            let opened = try await browser.open(code)
            #expect(opened.status == 303 && opened.headers["location"] == "/", "\(opened)")
            #expect(opened.headers["cache-control"] == "no-store" && opened.headers["referrer-policy"] == "no-referrer")
            let known = try await browser.ask("GET", "/v1/session")
            #expect(known.json["name"].text == "dashboard" && known.json["scopes"].elements.map(\.text) == ["read"])
            #expect(try await browser.ask("GET", "/v1/events").status == 200)
            let again = try await other.open(code)
            #expect(again.status == 303 && again.headers["location"] == Self.used && other.cookie == nil, "\(again)")
            // Who is signed in stays so.
            #expect(try await browser.open(code).headers["location"] == Self.used)
            #expect(try await browser.ask("GET", "/v1/events").status == 200)
            let connection = try await service.ledger.connect()
            try await eventually("the refusal is recorded") {
                try await connection.query("SELECT FROM refusals WHERE path = '/sign-in' AND code = 'unauthorized'")
                    .isEmpty ? nil : ()
            }
            await connection.close()
        }
    }

    @Test func ofManyBrowsersAtOnceOneIsSignedIn() async throws {
        try await TestService.with { service in
            for round in 1...5 {
                let code = try await SignInCodes(service.ledger.store).make()
                let answers = try await withThrowingTaskGroup(of: TestService.Answer.self) { group in
                    for _ in 0..<16 {
                        group.addTask {
                            var browser = Browser(service)
                            return try await browser.open(code)
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(answers.filter { $0.status == 303 }.count == 16, "round \(round)")
                #expect(answers.filter { $0.headers["set-cookie"] != nil }.count == 1, "round \(round)")
                #expect(answers.filter { $0.headers["location"] == Self.used }.count == 15, "round \(round)")
            }
            let connection = try await service.ledger.connect()
            let sessions: Int64 = try await connection.query("SELECT count(*) FROM sessions").only().decode(0)
            #expect(sessions == 5)
            await connection.close()
        }
    }

    @Test func whatOnlyLooksDoesNotUseACodeUp() async throws {
        try await TestService.with { service in
            let code = try await SignInCodes(service.ledger.store).make()
            var browser = Browser(service)
            #expect(try await browser.open(code, "HEAD").status == 303)
            for headers in [["sec-purpose": "prefetch;prerender"], ["purpose": "prefetch"]] {
                #expect(try await browser.open(code, headers: headers).status == 503)
            }
            for headers in [["sec-fetch-site": "cross-site"], ["sec-fetch-site": "same-site"]] {
                #expect(try await browser.open(code, headers: headers).status == 403)
            }
            #expect(browser.cookie == nil)
            #expect(try await browser.open(code, headers: ["sec-fetch-site": "none"]).headers["location"] == "/")
            #expect(browser.cookie != nil)
        }
    }

    @Test func whatIsNoCodeDoesNotSignIn() async throws {
        try await TestService.with { service in
            let connection = try await service.ledger.connect()
            let codes = SignInCodes(service.ledger.store)
            var browser = Browser(service)
            let old = try await codes.make()
            try await connection.query(
                """
                UPDATE sign_in_codes SET created_at = created_at - longest_sign_in_code(),
                       expires_at = expires_at - longest_sign_in_code()
                """)
            let token = try await service.tokens.create([.read])
            let revoked = try await codes.make(of: token.id)
            #expect(try await service.tokens.revoke(token.id))
            for path in [
                old.address(at: ""), revoked.address(at: ""), "/sign-in", "/sign-in?code=", "/sign-in?code=nonsense",
                "/sign-in?code=\(SessionSecret.random().text)", "/sign-in?code=\(service.token)",
            ] {
                let answer = try await browser.ask("GET", path)
                #expect(answer.status == 303 && answer.headers["location"] == Self.used, "\(path): \(answer)")
                #expect(browser.cookie == nil, "\(path)")
            }
            #expect(try await browser.ask("GET", "/sign-in?code=a&code=b").status == 400)
            await connection.close()
        }
    }

    @Test func codesShareOneTokenThatNobodyKnows() async throws {
        try await TestService.with { service in
            let codes = SignInCodes(service.ledger.store)
            let tokens = try await withThrowingTaskGroup(of: TokenID.self) { group in
                for _ in 0..<8 { group.addTask { try await codes.make().token } }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(tokens.count == 1)
            let entry = try #require(try await service.tokens.list().first { tokens.contains($0.id) })
            #expect(entry.name == "dashboard" && entry.scopes == ["read"])
            #expect(try await service.tokens.revoke(entry.id))
            let next = try await codes.make().token
            #expect(!tokens.contains(next))
            let appends = try await service.tokens.create([.append])
            await #expect(throws: PostgresError.self) { _ = try await codes.make(of: appends.id) }
            await #expect(throws: PostgresError.self) { _ = try await codes.make(of: "0123456789ab") }
        }
    }
}
