import HTTPTypes
import Hummingbird
import LedgerCore
import NIOCore

/// The routes by which a browser signs in and out.
struct SessionRoutes: Sendable {
    /// What sessions need.
    struct Sessions: Sendable {
        let store: SessionStore
        let check: SessionCheck
        let cookie: SessionCookie
        let tokens: TokenCheck
    }

    let ledger: LedgerName
    /// `nil` if the service requires no tokens: then there is nothing to sign in to.
    let sessions: Sessions?
    let bodies: BodyBudget
    let refusals: RefusalRecorder

    private static let (path, signInPath) = ("/v1/session", "/sign-in")
    /// The most bytes of a body, which holds one token.
    private static let longestBody = 4096

    var routes: [Route] {
        [
            Route(.get, Self.path, scope: .read, answersInOutages: true, show),
            Route(.post, Self.path, scope: nil, open),
            Route(.delete, Self.path, scope: nil, end),
            Route(.get, Self.signInPath, scope: nil, signIn),
        ]
    }

    // MARK: /v1/session

    /// Who sends the request: a session, or a token.
    @Sendable private func show(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow()
        guard let sessions, let credential = authorized.credential else { return answer([.read], "", until: nil) }
        switch credential.proof {
        case .session(let secret):
            let known =
                authorized.isDatabaseAway
                ? sessions.check.lastSession(secret) : try await sessions.check.session(secret)
            guard let known else { throw Authorization.sessionEnded }
            return answer(known.scopes, known.name, until: known.expiresAt)
        case .token(let token):
            let name = authorized.isDatabaseAway ? nil : try await sessions.store.name(of: token.id)
            return answer(authorized.sender.scopes, name ?? "", until: nil)
        }
    }

    /// Opens a session for who sends a token.
    @Sendable private func open(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow()
        try Self.requireSameOrigin(authorized.request)
        guard let sessions else { return answer([.read], "", until: nil) }
        let text = try await bodies.withBody(of: authorized, atMost: Self.longestBody) { bytes in
            try Self.token(in: bytes, authorized.request)
        }
        guard let token = AccessToken(text) else { throw Authorization.invalidToken }
        var refused = Authorization.invalidToken
        refused.token = token.id
        guard let scopes = try await sessions.tokens.scopes(of: token) else { throw refused }
        guard scopes.contains(.read) else {
            refused = Authorization.lacks(.read)
            refused.token = token.id
            throw refused
        }
        let secret = SessionSecret.random()
        // None if the token was revoked in this moment.
        guard let session = try await sessions.store.open(secret, by: token) else { throw refused }
        var response = answer(session.scopes, session.name, until: session.expiresAt)
        sessions.cookie.set(secret, until: session.expiresAt, for: authorized.request, on: &response.headers)
        return response
    }

    /// Ends the session of the browser, if it has one.
    @Sendable private func end(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow()
        let request = authorized.request
        try Self.requireSameOrigin(request)
        var headers: HTTPFields = [.cacheControl: "no-store"]
        if let sessions {
            if case .secret(let secret) = sessions.cookie.sent(by: request) {
                try await sessions.store.end(secret)
                sessions.check.forget(secret)
            }
            sessions.cookie.clear(for: request, on: &headers)
        }
        return Response(status: .noContent, headers: headers)
    }

    /// The token in the body `{"token": "jl_…"}`.
    private static func token(in bytes: [UInt8], _ request: Request) throws -> String {
        guard MediaType.essence(request.headers.first(.contentType) ?? "") == SentBody.json else {
            throw Problem(
                .unsupportedMediaType, "unsupported_media_type", "send the token as \(SentBody.json): \(example)"
            ).adding(.accept, SentBody.json)
        }
        let members: [JSONText.Slice]
        do {
            members = try JSONText.slices(of: bytes[...])
        } catch {
            throw Problem.malformedJSON("the body is not a JSON object: \(error)")
        }
        guard members.count == 1, let member = members.first, member.name == "token",
            let text = JSONText.string(from: member.value)
        else { throw Problem.invalidRequest("the body must have one member, a text: \(example)") }
        return text
    }

    private static let example = #"{"token": "jl_…"}"#

    /// No page of another origin can sign a browser in or out.
    private static func requireSameOrigin(_ request: Request) throws(Problem) {
        guard SameOrigin.sends(request) else {
            throw Problem(
                .forbidden, "forbidden",
                "a page of another origin cannot sign a browser in or out; the service's own page at / does")
        }
    }

    /// - Parameter end: of the session; `nil` for a token.
    private func answer(_ scopes: Set<Scope>, _ name: String, until end: Timestamp?) -> Response {
        var json = Array(#"{"scopes":"#.utf8)
        json.append(list: Scope.allCases.filter(scopes.contains)) { $1.appendJSON(string: $0.rawValue) }
        json += #","name":"#.utf8
        json.appendJSON(string: name)
        json += #","ledger":"#.utf8
        json.appendJSON(string: ledger.text)
        if let end { json += #","expires_at":"\#(end)""#.utf8 }
        json.append(UInt8(ascii: "}"))
        var response = Response.json(json)
        response.headers[.cacheControl] = "no-store"
        return response
    }

    // MARK: /sign-in

    /// Signs a browser in by the code in the address, which then works no more.
    @Sendable private func signIn(_ authorized: AuthorizedRequest) async throws -> Response {
        let request = authorized.request
        try authorized.query.allow("code")
        guard let sessions else { return Self.redirect("/") }
        // HEAD asks only where the address leads. What a browser fetches before anybody wants to
        // see it must not use the code up; it asks again when somebody does.
        guard request.method == .get else { return Self.redirect("/") }
        guard !SameOrigin.isPrefetch(request) else {
            throw Problem.unavailable("an address that signs in is not fetched in advance")
        }
        guard SameOrigin.sends(request) else {
            throw Problem(
                .forbidden, "forbidden",
                "a page of another origin cannot sign a browser in: copy the address into the browser's address bar. "
                    + "It still works")
        }
        let secret = SessionSecret.random()
        guard let code = try authorized.query.text("code").flatMap({ SessionSecret($0) }),
            let session = try await sessions.store.open(secret, with: code)
        else {
            refusals.record(
                RefusedAttempt(
                    request, authorized.context, path: Self.signInPath, token: nil, stream: nil, code: "unauthorized",
                    detail: "the code to sign in by was used before, is too old, or was never made"),
                isKnown: false)
            return Self.redirect("/?signed-out=code-used")
        }
        var response = Self.redirect("/")
        sessions.cookie.set(secret, until: session.expiresAt, for: request, on: &response.headers)
        return response
    }

    private static func redirect(_ place: String) -> Response {
        Response(
            status: .seeOther,
            headers: [.location: place, .cacheControl: "no-store", .referrerPolicy: "no-referrer"])
    }
}
