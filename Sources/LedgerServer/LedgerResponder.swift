import HTTPTypes
import Hummingbird
import LedgerCore
import Logging
import NIOCore
import Postgres
import Synchronization

/// Answers every request: finds its route, checks its token, and turns every error into a problem.
struct LedgerResponder: HTTPResponder {
    typealias Context = LedgerContext

    let routes: [Route]
    /// `nil` if the service requires no tokens.
    let tokens: TokenCheck?
    let cors: CrossOrigin
    let hosts: AllowedHosts
    let metrics: Metrics
    let refusals: RefusalRecorder
    let connections: ConnectionCount
    let reads: ReadLimits
    let watch: ProjectionWatch
    let bodies: BodyBudget

    func respond(to request: Request, context: LedgerContext) async throws -> Response {
        let start = ContinuousClock.now
        metrics.underWay.add(1, ordering: .relaxed)
        defer { metrics.underWay.subtract(1, ordering: .relaxed) }
        let (path, query) = Self.split(request.head.path ?? "/")
        let id = context.id
        var (route, response): (Route?, Response)
        do {
            (route, response) = try await answer(request, context, path, query)
        } catch {
            let problem = problem(error, context)
            let found = self.route(request.method, path)
            route = found?.route
            if let found { recordRefusal(problem, error, request, context, found, query) }
            response = problem.response(request: id)
        }
        if response.status == .ok, RequestFields.isAlwaysNotModified(request) {
            // A 304 has the header fields of the answer, without those that describe its body.
            var headers = response.headers
            headers[.contentType] = nil
            response = Response(status: .notModified, headers: headers)
        }
        if request.method == .head, response.body.contentLength != 0 {
            // The length is that of the answer to the same GET.
            let length = response.headers[.contentLength]
            response = response.createHeadResponse()
            response.headers[.contentLength] = length
        }
        response.headers.append(HTTPField(name: .requestID, value: id))
        response.headers.append(Self.noSniffing)
        cors.allow(request, &response)
        let duration = start.duration(to: .now)
        metrics.answered(route, response.status, in: duration)
        log(request, path, response.status, duration, context)
        return response
    }

    private func answer(
        _ request: Request, _ context: LedgerContext, _ path: Substring, _ query: Substring?
    ) async throws -> (Route?, Response) {
        try hosts.check(request)
        if let preflight = cors.preflight(request) { return (nil, preflight) }
        if request.method == .options { return (nil, try options(path)) }
        guard let (route, parameter, namedCategory) = route(request.method, path) else { throw notFound(path) }
        try RequestFields.check(request)
        let query = try Query(query.map(String.init))
        let (token, mayRead, isDatabaseAway) = try await authorize(request, route, query)
        // A request that needs no token does not secure the connection's place.
        if route.scope != nil { connections.keepPlace(context.channel, token) }
        guard let job = Query.decoded(parameter), let name = Query.decoded(namedCategory ?? "job") else {
            throw Problem.invalidRequest("the path is not percent-encoded UTF-8, or contains U+0000")
        }
        guard let category = Category(name) else {
            throw Problem.invalidRequest("the part of the path behind /v1/streams/ \(Category.problem(with: name))")
        }
        let authorized = AuthorizedRequest(
            request: request, context: context, category: category, job: JobID(job), query: query, token: token,
            mayRead: mayRead, isDatabaseAway: isDatabaseAway)
        guard route.scope == .read else { return (route, try await route.answer(authorized)) }
        // A client that has just appended may wait for the read model to catch up. Waiting does not
        // occupy a reader.
        if let projection = route.projection, let position = try query.position("min_position") {
            try await watch.wait(for: position, of: projection)
        }
        return (
            route,
            try bodies.counting(try await reads.run(for: token) { try await route.answer(authorized) }, for: token)
        )
    }

    /// A route, and the parts of the path that match `{id}` or `{path}`, and `{category}`.
    private typealias Found = (route: Route, parameter: Substring, category: Substring?)

    /// The route of a request. HEAD has the routes of GET.
    private func route(_ method: HTTPRequest.Method, _ path: Substring) -> Found? {
        let segments = Route.segments(path)
        for route in routes where route.method == (method == .head ? .get : method) {
            if let parameter = route.match(segments) { return (route, parameter, route.category(in: segments)) }
        }
        return nil
    }

    private func notFound(_ path: Substring) -> Problem {
        guard let allowed = methods(path) else {
            return Problem(.notFound, "not_found", "there is nothing at this path; /openapi.json says what there is")
        }
        return Problem(.methodNotAllowed, "method_not_allowed", "this path takes \(allowed)").adding(.allow, allowed)
    }

    /// The methods that a path takes, or the whole service for `*`; `nil` if there is nothing at
    /// the path.
    private func methods(_ path: Substring) -> String? {
        let segments = Route.segments(path)
        let methods = routes.filter { path == "*" || $0.match(segments) != nil }.map(\.method)
        let names = [HTTPRequest.Method.get, .head, .post].filter { methods.contains($0 == .head ? .get : $0) }.map(
            \.rawValue)
        return names.isEmpty ? nil : (names + ["OPTIONS"]).joined(separator: ", ")
    }

    private func options(_ path: Substring) throws(Problem) -> Response {
        guard let allowed = methods(path) else { throw notFound(path) }
        return Response(status: .noContent, headers: [.allow: allowed])
    }

    // MARK: Tokens

    private static let challenge = "Bearer realm=\"jobledger\""

    /// - Returns: the token, whether its holder may read, and whether only an earlier answer
    ///   vouches for it.
    private func authorize(
        _ request: Request, _ route: Route, _ query: Query
    ) async throws -> (token: AccessToken?, mayRead: Bool, isDatabaseAway: Bool) {
        // Without tokens everybody may do everything.
        guard let tokens, let scope = route.scope else { return (nil, tokens == nil, false) }
        func unauthorized(_ detail: String, _ error: String = "") -> Problem {
            Problem(.unauthorized, "unauthorized", detail).adding(.wwwAuthenticate, Self.challenge + error)
        }
        guard let sent = try sentToken(request, route, query) else {
            throw unauthorized(
                "this request needs a token, in the header Authorization: Bearer jl_…; "
                    + "jobledger token create makes one")
        }
        guard !sent.isEmpty else {
            throw unauthorized(
                request.headers.first(.authorization) == nil
                    ? "the query parameter access_token is empty: it must be the whole token, access_token=jl_…"
                    : "the header Authorization must be the word Bearer, a space and the token: "
                        + "Authorization: Bearer jl_…")
        }
        let token = AccessToken(sent)
        let isStream = route.path.hasSuffix("/events") && MediaType.wantsStream(request)
        let scopes: Set<Scope>?
        var isDatabaseAway = false
        do {
            scopes = if let token { try await tokens.scopes(of: token) } else { nil }
        } catch let error as PostgresError
            where error.isOutage && isStream || error.isConnectionFailure && route.answersInOutages
        {
            // A browser's EventSource does not come back from an error, and a scrape has to say
            // that the database is away.
            guard let known = token.flatMap(tokens.lastScopes) else { throw error }
            (scopes, isDatabaseAway) = (known, true)
        }
        guard let token, let scopes else {
            throw unauthorized(
                "the token is unknown or was revoked: jobledger token list shows all tokens, "
                    + "by the 12 digits after jl_",
                ", error=\"invalid_token\"")
        }
        guard scopes.contains(scope) else {
            throw Problem(
                .forbidden, "forbidden",
                "the token lacks the scope \(scope.rawValue): "
                    + "jobledger token create --scope \(scope.rawValue) makes one that has it"
            )
            .adding(.wwwAuthenticate, Self.challenge + ", error=\"insufficient_scope\", scope=\"\(scope.rawValue)\"")
        }
        return (token, scopes.contains(.read), isDatabaseAway)
    }

    /// The token that the request sent; an empty text if it is malformed. A browser's `EventSource`
    /// cannot set headers, so for an event stream, and nothing else, the query may have the token.
    private func sentToken(_ request: Request, _ route: Route, _ query: Query) throws -> String? {
        if let header = request.headers.first(.authorization) {
            // RFC 6750, 2: a request uses one method to send its token.
            if !query.all("access_token").isEmpty {
                throw Problem.invalidRequest(
                    "send the token in \"Authorization\" or in \"access_token\", not in both")
            }
            return AccessToken.text(inHeader: header) ?? ""
        }
        guard route.path.hasSuffix("/events"), MediaType.wantsStream(request) else { return nil }
        return try query.text("access_token")
    }

    // MARK: Refusals

    /// Records, for an auditor, each request whose token was refused and each append that was
    /// malformed. ``AppendRoutes`` records what the ledger itself refuses, because it knows the
    /// event.
    private func recordRefusal(
        _ problem: Problem, _ error: any Error, _ request: Request, _ context: LedgerContext, _ found: Found,
        _ query: Substring?
    ) {
        let isTurnedAway = problem.status == .unauthorized || problem.status == .forbidden
        let isOfLedger = error is Refusal || error is RefusalOfReader
        let isRefusedAppend =
            found.route.scope == .append && (400..<500).contains(problem.status.code) && !isOfLedger
        guard isTurnedAway || isRefusedAppend else { return }
        let sent = (try? Query(query.map(String.init))).flatMap { try? sentToken(request, found.route, $0) }
        let id = found.parameter.isEmpty ? nil : Query.decoded(found.parameter).map { JobID($0) }
        let named = found.category ?? (found.route.path.contains("/jobs/") ? "job" : "")
        let category = Query.decoded(named).flatMap { Category($0) }
        refusals.record(
            RefusedAttempt(
                request, context, path: found.route.path, token: sent.flatMap { AccessToken($0) }?.id,
                stream: id.flatMap { id in category.map { StreamKey($0, id) } }, code: problem.code,
                detail: problem.detail),
            isKnown: problem.status != .unauthorized)
    }

    // MARK: Errors and the log

    private func problem(_ error: any Error, _ context: LedgerContext) -> Problem {
        // The client has gone, so nobody is there to tell, and the error is not the service's
        // fault.
        guard context.channel.isActive else {
            context.logger.debug("the client has gone", metadata: ["error": "\(error)"])
            return .unavailable("the client has gone", code: "stopping")
        }
        guard let problem = Problem(error) else {
            context.logger.error("a request failed", metadata: ["error": "\(error)"])
            return Problem(
                .internalServerError, "internal_error",
                "an internal error occurred; the service's log has details under the request's id")
        }
        if problem.status.code >= 500 {
            context.logger.warning(
                "a request could not be answered", metadata: ["code": "\(problem.code)", "error": "\(error)"])
        }
        return problem
    }

    /// Logs the path without its query, which may contain a token.
    private func log(
        _ request: Request, _ path: Substring, _ status: HTTPResponse.Status, _ duration: Duration,
        _ context: LedgerContext
    ) {
        let level: Logger.Level = status.code >= 500 ? .warning : .debug
        context.logger.log(
            level: level, "answered",
            metadata: [
                "method": "\(request.method)", "path": "\(path)", "status": "\(status.code)",
                "ms": "\(Int(duration / .microseconds(1)) / 1000)",
            ])
    }

    /// Keeps a browser from interpreting data as a page.
    private static let noSniffing = HTTPField(name: .contentTypeOptions, value: "nosniff")

    private static func split(_ target: String) -> (path: Substring, query: Substring?) {
        guard let mark = target.firstIndex(of: "?") else { return (target[...], nil) }
        return (target[..<mark], target[target.index(after: mark)...])
    }
}

extension HTTPFields {
    /// The first value of this name. The subscript joins all values, which costs more than the rest
    /// of the look-up.
    func first(_ name: HTTPField.Name) -> String? {
        for field in self where field.name == name { return field.value }
        return nil
    }
}

extension HTTPField.Name {
    static let cloudEventVersion = HTTPField.Name("ce-specversion")!
    static let requestID = HTTPField.Name("X-Request-Id")!
    static let contentTypeOptions = HTTPField.Name("X-Content-Type-Options")!
    static let ledgerPosition = HTTPField.Name("Ledger-Position")!
    static let idempotencyKey = HTTPField.Name("Idempotency-Key")!
    static let lastEventID = HTTPField.Name("Last-Event-ID")!
    static let traceparent = HTTPField.Name("traceparent")!
    static let tracestate = HTTPField.Name("tracestate")!
}
