import LedgerCore
import LedgerSettings
import LedgerTesting
import Testing

@testable import LedgerServer

/// Pages of other origins, and cookies that a service did not set.
@Suite struct SessionOriginTests {
    private static let foreign: [[String: String]] = [
        ["sec-fetch-site": "cross-site"], ["sec-fetch-site": "same-site"], ["sec-fetch-site": "cross-origin"],
        ["origin": "https://other.example"], ["origin": "null"], ["origin": "http://127.0.0.1:1"],
        ["sec-fetch-site": "cross-site", "origin": "null"],
    ]

    @Test func noForeignPageSignsABrowserInOrOut() async throws {
        try await TestService.with { service in
            var browser = Browser(service)
            for headers in Self.foreign {
                let answer = try await browser.signIn(service.token, headers: headers)
                #expect(answer.status == 403 && browser.cookie == nil, "\(headers): \(answer)")
            }
            let host = service.url.replacing("http://", with: "")
            for headers in [["origin": service.url], ["sec-fetch-site": "same-origin", "origin": "https://\(host)"]] {
                #expect(try await browser.signIn(service.token, headers: headers).status == 200, "\(headers)")
            }
            for headers in Self.foreign {
                let answer = try await browser.ask("DELETE", "/v1/session", headers: headers)
                #expect(answer.status == 403 && browser.cookie != nil, "\(headers): \(answer)")
                // Nor does it read anything by the cookie.
                #expect(try await browser.ask("GET", "/v1/events", headers: headers).status == 401, "\(headers)")
            }
            for headers in [[:], ["sec-fetch-site": "same-origin"], ["sec-fetch-site": "none"]] {
                #expect(try await browser.ask("GET", "/v1/events", headers: headers).status == 200, "\(headers)")
            }
        }
    }

    /// An origin that may use the service by a token may not use a browser's session.
    @Test func anAllowedOriginHasNoSession() async throws {
        try await TestService.with(settings: .changed { $0.corsOrigins = ["https://app.example"] }) { service in
            var browser = Browser(service)
            #expect(try await browser.signIn(service.token).status == 200)
            let answer = try await browser.ask("GET", "/v1/events", headers: ["origin": "https://app.example"])
            #expect(answer.status == 401 && answer.headers["access-control-allow-credentials"] == nil, "\(answer)")
            #expect(
                try await browser.signIn(service.token, headers: ["origin": "https://app.example"]).status == 403)
        }
    }

    @Test func behindAProxyThatEndsTLSTheCookieIsForTLSOnly() async throws {
        try await TestService.with { service in
            var browser = Browser(service)
            let origin = ["origin": "https://" + service.url.replacing("http://", with: "")]
            let answer = try await browser.signIn(service.token, headers: origin)
            let cookie = answer.headers["set-cookie"] ?? ""
            #expect(cookie.hasPrefix("__Host-jobledger_") && cookie.hasSuffix("; Secure"), "\(cookie)")
            #expect(try await browser.ask("GET", "/v1/events").status == 200)
            #expect(try await browser.ask("DELETE", "/v1/session").status == 204)
            #expect(browser.cookie == nil)
        }
    }

    @Test func twoLedgersOnOneHostDoNotSignEachOtherOut() async throws {
        try await TestService.with { one in
            try await TestService.with { other in
                var (first, second) = (Browser(one), Browser(other))
                #expect(try await first.signIn(one.token).status == 200)
                #expect(try await second.signIn(other.token).status == 200)
                let (mine, theirs) = (try #require(first.cookie), try #require(second.cookie))
                #expect(mine.prefix { $0 != "=" } != theirs.prefix { $0 != "=" })
                let both = ["cookie": "\(theirs); \(mine)"]
                #expect(try await first.ask("GET", "/v1/events", headers: both).status == 200)
                #expect(try await second.ask("GET", "/v1/events", headers: both).status == 200)
                #expect(try await first.ask("GET", "/v1/events", headers: ["cookie": theirs]).status == 401)
                // Under the other name it is no session of this ledger.
                let renamed = "\(mine.prefix { $0 != "=" })=\(theirs.drop { $0 != "=" }.dropFirst())"
                #expect(try await first.ask("GET", "/v1/events", headers: ["cookie": renamed]).status == 401)
                #expect(try await first.ask("DELETE", "/v1/session", headers: both).status == 204)
                #expect(try await second.ask("GET", "/v1/events").status == 200)
            }
        }
    }

    @Test func hostileCookiesAreNone() async throws {
        try await TestService.with { service in
            var browser = Browser(service)
            #expect(try await browser.signIn(service.token).status == 200)
            let cookie = try #require(browser.cookie)
            let (name, value) = (String(cookie.prefix { $0 != "=" }), String(cookie.drop { $0 != "=" }.dropFirst()))
            let random = SessionSecret.random().text
            for sent in [
                "", ";", "=", "=\(value)", name, "\(name)=", "\(name)=\(value)x", "\(name)=\(value.dropLast())",
                "\(name)=\"\(value)\"", "\(name) \(value)", "\(name.uppercased())=\(value)", "x\(name)=\(value)",
                "\(name)=\(random)", "\(name)=\(value); \(name)=\(random)", "\(name)=; \(name)=\(value)",
                "\(name)=\(value)=", "\(name)='\(value)'", "\(name)=\(service.token)", "\(name)=%00", "\(name)=../..",
                "\(name)=" + String(repeating: "a", count: 20_000), String(repeating: ";", count: 20_000),
                "\(name)=\(value.lowercased())\u{0301}",
            ] {
                let answer = try await browser.ask("GET", "/v1/events", headers: ["cookie": sent])
                #expect(answer.status == 401 && answer.code == "unauthorized", "\(sent.prefix(80)): \(answer)")
                #expect(!answer.text.contains(value))
            }
            for sent in [
                "a=b; \(cookie)", "\(cookie);", " \(cookie) ;;x", "\(cookie); \(cookie)",
                "\(name)_x=\(random);\(cookie)",
            ] {
                #expect(try await browser.ask("GET", "/v1/events", headers: ["cookie": sent]).status == 200, "\(sent)")
            }
        }
    }
}
