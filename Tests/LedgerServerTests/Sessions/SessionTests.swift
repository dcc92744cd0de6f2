import Foundation
import LedgerCore
import LedgerSettings
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

/// What a browser's session may do, and what ends it.
@Suite(.timeLimit(.minutes(5))) struct SessionTests {
    private static let queued = #"{"type":"queued","data":{"name":"x"}}"#

    @Test func aBrowserSignsInByATokenReadsAndSignsOut() async throws {
        try await TestService.with { service in
            let token = try await service.tokens.create([.append, .read], name: "of ada")
            var browser = Browser(service)
            #expect(try await browser.ask("GET", "/v1/session").status == 401)
            let signedIn = try await browser.signIn(token.text)
            #expect(signedIn.status == 200 && signedIn.json["name"].text == "of ada", "\(signedIn)")
            #expect(signedIn.json["scopes"].elements.map(\.text) == ["append", "read"])
            #expect(signedIn.json["ledger"].text == service.ledger.name.text)
            let end = try #require(signedIn.json["expires_at"].text.flatMap { Timestamp($0) })
            let days = Double(end.microseconds - Timestamp.now.microseconds) / 86_400e6
            #expect((29.9...30.1).contains(days))
            let cookie = try #require(signedIn.headers["set-cookie"])
            for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=25"] {
                #expect(cookie.contains(attribute), "\(cookie)")
            }
            #expect(!cookie.contains("Secure") && !cookie.contains("Domain") && !cookie.contains(token.text))
            #expect(cookie.hasPrefix("jobledger_\(service.ledger.name)_"))

            let known = try await browser.ask("GET", "/v1/session")
            #expect(known.status == 200 && known.text == signedIn.text, "\(known)")
            for path in ["/v1/events", "/metrics", "/v1/audit/refusals"] {
                for method in ["GET", "HEAD"] {
                    let answer = try await browser.ask(method, path)
                    #expect(answer.status == 200, "\(method) \(path): \(answer)")
                    #expect(answer.headers["cache-control"] == "no-store")
                }
            }
            let left = try #require(browser.cookie)
            let signedOut = try await browser.ask("DELETE", "/v1/session")
            #expect(signedOut.status == 204 && browser.cookie == nil, "\(signedOut)")
            // At once, also for who has kept the cookie.
            let after = try await browser.ask("GET", "/v1/events", headers: ["cookie": left])
            #expect(after.status == 401 && after.code == "unauthorized", "\(after)")
            #expect(try await browser.ask("DELETE", "/v1/session").status == 204)
        }
    }

    @Test func aSessionNeverAppends() async throws {
        try await TestService.with { service in
            var browser = Browser(service)
            #expect(try await browser.signIn(service.token).status == 200)
            for (path, body) in [
                ("/v1/jobs/a/events", Self.queued), ("/v1/streams/job/a/events", Self.queued),
                ("/v1/events", "[" + #"{"job":"a","type":"queued","data":{"name":"x"}}"# + "]"),
            ] {
                let answer = try await browser.ask("POST", path, body)
                #expect(answer.status == 401 && answer.text.contains("only reads"), "\(answer)")
            }
            #expect(try await service.ledger.count() == 0)
        }
    }

    @Test func aTokenComesBeforeASession() async throws {
        try await TestService.with { service in
            var browser = Browser(service)
            #expect(try await browser.signIn(service.token).status == 200)
            let unknown = AccessToken.random().text
            let bearer = ["authorization": "Bearer \(unknown)"]
            #expect(try await browser.ask("GET", "/v1/events", headers: bearer).status == 401)
            #expect(
                try await browser.ask(
                    "GET", "/v1/events?access_token=\(unknown)", headers: ["accept": "text/event-stream"]
                ).status == 401)
            let known = try await browser.ask(
                "GET", "/v1/session",
                headers: ["authorization": "Bearer \(service.token)", "cookie": "jobledger=nonsense"])
            #expect(known.status == 200 && known.json["name"].text == "test" && known.json["expires_at"].isNull)
        }
    }

    @Test func whatIsNoTokenIsRefusedAndRecorded() async throws {
        try await TestService.with { service in
            let connection = try await service.ledger.connect()
            var browser = Browser(service)
            let (unknown, revoked) = (AccessToken.random(), try await service.tokens.create([.read]))
            #expect(try await service.tokens.revoke(revoked.id))
            let appends = try await service.tokens.create([.append])
            for (token, status) in [
                (unknown.text, 401), (revoked.text, 401), ("nonsense", 401), ("", 401), (appends.text, 403),
                (String(service.token.dropLast()) + "!", 401),
            ] {
                let answer = try await browser.signIn(token)
                #expect(answer.status == status && answer.headers["www-authenticate"] != nil, "\(token): \(answer)")
                #expect(browser.cookie == nil)
            }
            for (body, type, status) in [
                ("", "application/json", 400), ("{", "application/json", 400), ("[]", "application/json", 400),
                ("{}", "application/json", 400), (#"{"token":7}"#, "application/json", 400),
                (#"{"token":"\#(service.token)","x":1}"#, "application/json", 400),
                (#"{"token":"\#(service.token)"}"#, "text/plain", 415),
                ("token=\(service.token)", "application/x-www-form-urlencoded", 415),
                (#"{"token":"\#(String(repeating: "x", count: 5000))"}"#, "application/json", 413),
            ] {
                let answer = try await browser.ask("POST", "/v1/session", body, type: type)
                #expect(answer.status == status && browser.cookie == nil, "\(body.prefix(40)): \(answer)")
            }
            for id in [unknown.id, revoked.id, appends.id] {
                try await eventually("the refusal of \(id) is recorded") {
                    try await connection.query(
                        "SELECT FROM refusals WHERE token = $1 AND path = '/v1/session' AND method = 'POST'", id
                    ).isEmpty ? nil : ()
                }
            }
            let kept: Int64 = try await connection.query("SELECT count(*) FROM sessions").only().decode(0)
            #expect(kept == 0)
            await connection.close()
        }
    }

    /// Ways in which a session ends without its browser.
    enum Ending: String, CaseIterable, Sendable {
        case token = "UPDATE tokens SET revoked_at = clock_timestamp() WHERE name = 'short'"
        case elsewhere = "DELETE FROM sessions"
        case time = """
            UPDATE sessions SET created_at = created_at - longest_session(),
                   expires_at = expires_at - longest_session()
            """
    }

    @Test(arguments: Ending.allCases) func aSessionThatEndedIsRefusedSoonAndItsStreamsEnd(_ ending: Ending) async throws
    {
        try await TestService.with { service in
            let token = try await service.tokens.create([.read], name: "short")
            var browser = Browser(service)
            #expect(try await browser.signIn(token.text).status == 200)
            let cookie = try #require(browser.cookie)
            var stream = try await service.stream("/v1/events", token: "", headers: ["cookie": cookie])
            #expect(stream.status == 200)
            _ = try await service.append(Self.queued, to: "a")
            #expect(try await stream.next()?.job == "a")

            let connection = try await service.ledger.connect()
            try await connection.query(ending.rawValue)
            await connection.close()
            let since = ContinuousClock.now
            _ = try await eventually("the session is refused") {
                try await browser.ask("GET", "/v1/session").status == 401 ? true : nil
            }
            #expect(since.duration(to: .now) < .seconds(5))
            #expect(try await stream.next() == nil)
            #expect(since.duration(to: .now) < .seconds(15))
            // An EventSource that comes back is refused, too.
            #expect(try await service.stream("/v1/events", token: "", headers: ["cookie": cookie]).status == 401)
        }
    }

    @Test func signingOutLeavesTheTokenAndItsOtherSessions() async throws {
        try await TestService.with { service in
            var (one, other) = (Browser(service), Browser(service))
            #expect(try await one.signIn(service.token).status == 200)
            #expect(try await other.signIn(service.token).status == 200)
            let (mine, theirs) = (try #require(one.cookie), try #require(other.cookie))
            var ending = try await service.stream("/v1/events", token: "", headers: ["cookie": mine])
            var stream = try await service.stream("/v1/events", token: "", headers: ["cookie": theirs])
            #expect(try await one.ask("DELETE", "/v1/session").status == 204)
            // By then both were looked at.
            #expect(try await ending.next() == nil)
            #expect(try await other.ask("GET", "/v1/events").status == 200)
            _ = try await service.append(Self.queued, to: "a")
            #expect(try await stream.next()?.job == "a")
        }
    }

    @Test func withoutTokensEverybodyReadsAndNobodySignsIn() async throws {
        try await TestService.with(needsToken: false) { service in
            var browser = Browser(service)
            let known = try await browser.ask("GET", "/v1/session")
            #expect(known.status == 200 && known.json["scopes"].elements.map(\.text) == ["read"], "\(known)")
            #expect(try await browser.signIn("nonsense").status == 200)
            #expect(try await browser.ask("DELETE", "/v1/session").status == 204)
            let opened = try await browser.ask("GET", "/sign-in?code=x")
            #expect(opened.status == 303 && opened.headers["location"] == "/" && browser.cookie == nil)
        }
    }

    @Test func withoutADashboardThereAreNoSessions() async throws {
        try await TestService.with(settings: .changed { $0.dashboard = false }) { service in
            var browser = Browser(service)
            for (method, path) in [
                ("GET", "/v1/session"), ("POST", "/v1/session"), ("DELETE", "/v1/session"), ("GET", "/sign-in"),
                ("GET", "/"), ("GET", "/jobs/a"), ("GET", "/dashboard/index.html"),
            ] {
                let answer = try await browser.ask(method, path)
                #expect(answer.status == 404, "\(method) \(path)")
            }
        }
    }
}
