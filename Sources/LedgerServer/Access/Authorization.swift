import HTTPTypes
import Hummingbird
import LedgerCore
import Postgres

/// Finds out who sends a request, and whether they may: by a token, or by the session of a browser.
struct Authorization: Sendable {
    /// Who may send a request.
    struct Sender: Sendable {
        /// `nil` if the route needs none, or the service requires none.
        let credential: Credential?
        let scopes: Set<Scope>
        /// Whether only an earlier answer vouches for the credential.
        let isDatabaseAway: Bool
    }

    private enum Sent {
        case nothing
        /// The text of a token, which may be malformed.
        case token(String)
        case session(SessionSecret)
        /// A cookie of a session's name that is none.
        case noSession
    }

    /// `nil` if the service requires no tokens.
    let credentials: CredentialCheck?
    /// `nil` if the service has no sessions.
    let cookie: SessionCookie?

    static let challenge = "Bearer realm=\"jobledger\""

    /// - Throws: ``Problem`` if the sender may not do what the route does.
    func authorize(_ request: Request, _ route: Route, _ query: Query) async throws -> Sender {
        // Without tokens everybody may do everything.
        guard let credentials else {
            return Sender(credential: nil, scopes: Set(Scope.allCases), isDatabaseAway: false)
        }
        guard let scope = route.scope else { return Sender(credential: nil, scopes: [], isDatabaseAway: false) }
        let found: Sender
        switch try sent(request, route, query) {
        case .nothing:
            let isSession = cookie.map { if case .nothing = $0.sent(by: request) { false } else { true } } ?? false
            throw Self.unauthorized(
                (isSession ? "a browser's session only reads, and only for pages of this service: " : "")
                    + "this request needs a token, in the header Authorization: Bearer jl_…; "
                    + "jobledger token create makes one")
        case .token(""):
            throw Self.unauthorized(
                request.headers.first(.authorization) == nil
                    ? "the query parameter access_token is empty: it must be the whole token, access_token=jl_…"
                    : "the header Authorization must be the word Bearer, a space and the token: "
                        + "Authorization: Bearer jl_…")
        case .token(let text):
            let credential = AccessToken(text).map { Credential($0) }
            guard let sender = try await sender(credential, request, route, credentials) else {
                throw Self.invalidToken
            }
            found = sender
        case .session(let secret):
            guard let sender = try await sender(of: secret, request, route, credentials) else {
                throw Self.sessionEnded
            }
            found = sender
        case .noSession: throw Self.sessionEnded
        }
        guard found.scopes.contains(scope) else { throw Self.lacks(scope) }
        return found
    }

    // MARK: What was sent

    /// The text of the token that the request sent; an empty text if it is malformed. A browser's
    /// `EventSource` cannot set headers, so for an event stream, and nothing else, the query may
    /// have the token.
    func sentToken(_ request: Request, _ route: Route, _ query: Query) throws -> String? {
        if let header = request.headers.first(.authorization) {
            // RFC 6750, 2: a request uses one method to send its token.
            if !query.all("access_token").isEmpty {
                throw Problem.invalidRequest(
                    "send the token in \"Authorization\" or in \"access_token\", not in both")
            }
            return AccessToken.text(inHeader: header) ?? ""
        }
        guard Self.isStream(request, route) else { return nil }
        return try query.text("access_token")
    }

    private func sent(_ request: Request, _ route: Route, _ query: Query) throws -> Sent {
        // What a program says of itself comes before what a browser adds.
        if let token = try sentToken(request, route, query) { return .token(token) }
        guard let cookie, route.scope == .read, [.get, .head].contains(request.method), SameOrigin.sends(request) else {
            return .nothing
        }
        return switch cookie.sent(by: request) {
        case .nothing: .nothing
        case .secret(let secret): .session(secret)
        case .other: .noSession
        }
    }

    private static func isStream(_ request: Request, _ route: Route) -> Bool {
        route.path.hasSuffix("/events") && MediaType.wantsStream(request)
    }

    // MARK: What the ledger knows of it

    /// - Returns: `nil` if the credential does not work.
    private func sender(
        _ credential: Credential?, _ request: Request, _ route: Route, _ credentials: CredentialCheck
    ) async throws -> Sender? {
        guard let credential else { return nil }
        do {
            return try await credentials.scopes(of: credential).map {
                Sender(credential: credential, scopes: $0, isDatabaseAway: false)
            }
        } catch let error as PostgresError where Self.isAnswered(error, request, route) {
            guard let known = credentials.lastScopes(of: credential) else { throw error }
            return Sender(credential: credential, scopes: known, isDatabaseAway: true)
        }
    }

    /// - Returns: `nil` if there is no such session.
    private func sender(
        of secret: SessionSecret, _ request: Request, _ route: Route, _ credentials: CredentialCheck
    ) async throws -> Sender? {
        guard let sessions = credentials.sessions else { return nil }
        do {
            return try await sessions.session(secret).map {
                Sender(credential: Credential($0, secret), scopes: $0.scopes, isDatabaseAway: false)
            }
        } catch let error as PostgresError where Self.isAnswered(error, request, route) {
            guard let known = sessions.lastSession(secret) else { throw error }
            return Sender(credential: Credential(known, secret), scopes: known.scopes, isDatabaseAway: true)
        }
    }

    /// Whether the request is answered although the ledger cannot be asked. A browser's
    /// `EventSource` does not come back from an error, and a scrape has to say that the database is
    /// away.
    private static func isAnswered(_ error: PostgresError, _ request: Request, _ route: Route) -> Bool {
        error.isOutage && isStream(request, route) || error.isConnectionFailure && route.answersInOutages
    }

    // MARK: Refusals

    static func unauthorized(_ detail: String, _ error: String = "") -> Problem {
        Problem(.unauthorized, "unauthorized", detail).adding(.wwwAuthenticate, challenge + error)
    }

    static var invalidToken: Problem {
        unauthorized(
            "the token is unknown or was revoked: jobledger token list shows all tokens, "
                + "by the 12 digits after jl_",
            ", error=\"invalid_token\"")
    }

    static var sessionEnded: Problem {
        unauthorized(
            "the browser's session has ended, or its token was revoked: sign in again; "
                + "jobledger dashboard prints an address that does it",
            ", error=\"invalid_token\"")
    }

    static func lacks(_ scope: Scope) -> Problem {
        Problem(
            .forbidden, "forbidden",
            "the token lacks the scope \(scope.rawValue): "
                + "jobledger token create --scope \(scope.rawValue) makes one that has it"
        )
        .adding(.wwwAuthenticate, challenge + ", error=\"insufficient_scope\", scope=\"\(scope.rawValue)\"")
    }
}
