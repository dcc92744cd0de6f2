import AuditTrail
import EventStore
import HTTPTypes
import Hummingbird
import LedgerCore

/// The audit trail: who did what, when and why, and what was refused.
struct TrailRoutes: Sendable {
    let store: EventStore

    private var trail: AuditTrail { AuditTrail(store) }

    var routes: [Route] {
        [
            Route(.get, "/v1/audit/events", scope: .read, waitingFor: AuditTrail.projection, events),
            Route(.get, "/v1/audit/events/{id}/why", scope: .read, why),
            Route(.get, "/v1/audit/refusals", scope: .read, refusals),
        ]
    }

    @Sendable private func events(_ authorized: AuthorizedRequest) async throws -> Response {
        let sent = authorized.query
        try sent.allow(
            "actor", "category", "type", "job", "from", "to", "correlation_id", "text", "order", "after", "limit",
            "min_position")
        let order = try order(sent)
        var query = TrailQuery(order: order, limit: try sent.limit())
        query.actor = try sent.exact("actor")
        query.category = try sent.category()
        query.type = try sent.type(of: query.category)
        query.job = try sent.exact("job")
        query.correlationID = try sent.exact("correlation_id")
        query.text = try sent.text("text")
        if query.text != nil, let category = query.category, category != .job {
            throw Problem.invalidRequest(
                "\"text\" finds words in events of jobs only: of the category \(category) no text is searched")
        }
        query.after = try sent.position("after", from: 1)
        if let from = try sent.moment("from") { query.from = try await store.firstPosition(from: from) }
        if let to = try sent.moment("to") { query.to = try await store.position(of: to) }
        let page = try await trail.page(query, mostBytes: AuditTrail.mostBytes)
        try await requireWithinLog(query, page)
        let last = page.isCut || page.entries.count == query.limit ? page.entries.last : nil
        let address = last.map { next("/v1/audit/events", sent, query.limit, after: $0.position) }
        var response = Response.page("events", page.entries, next: address) { $1 += $0.json }
        response.headers[.ledgerPosition] = "\(page.position)"
        return response
    }

    /// A client that reads on, oldest first, has had the event at its position. The read model may
    /// be behind the log.
    private func requireWithinLog(_ query: TrailQuery, _ page: AuditTrail.Page) async throws {
        guard query.order == .oldest, let after = query.after, after > page.position else { return }
        let head = try await store.head()
        guard after <= head else { throw Problem.anotherLedger(after, head: head) }
    }

    @Sendable private func why(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow()
        guard let name = EventReference(authorized.job.text) else {
            throw Problem.invalidRequest(
                "name the event by its position or its id (a UUID), not \(Query.quoted(authorized.job.text))")
        }
        guard let why = try await trail.why(name) else {
            throw Problem(
                .notFound, "unknown_event", "there is no such event, or the read model has not reached it yet")
        }
        var json = Array("{\"event\":".utf8)
        json += why.event.json
        json += ",\"causes\":".utf8
        json.append(list: why.causes) { $1 += $0.json }
        json += ",\"outside_cause\":".utf8
        json.append(jsonString: why.outsideCause)
        json += ",\"circular\":\(why.isCircular),\"consequences\":".utf8
        json.append(list: why.consequences) { consequence, json in
            json += "{\"depth\":\(consequence.depth),\"event\":".utf8
            json += consequence.entry.json
            json.append(UInt8(ascii: "}"))
        }
        json += ",\"more\":\(why.hasMore)}".utf8
        return .json(json)
    }

    @Sendable private func refusals(_ authorized: AuthorizedRequest) async throws -> Response {
        let sent = authorized.query
        try sent.allow("actor", "token", "category", "job", "code", "order", "after", "limit")
        var query = RefusalQuery(order: try order(sent), limit: try sent.limit())
        query.actor = try sent.exact("actor")
        query.token = try sent.exact("token")
        query.category = try sent.exact("category")
        query.job = try sent.exact("job")
        query.code = try sent.exact("code")
        query.after = try sent.position("after", from: 1)
        let refusals = try await trail.refusals(query)
        let last = refusals.count == query.limit ? refusals.last : nil
        let address = last.map { next("/v1/audit/refusals", sent, query.limit, after: $0.number) }
        return .page("refusals", refusals, next: address) { $1 += $0.json }
    }

    // MARK: Parts

    private func order(_ query: Query) throws -> TrailQuery.Order {
        try query.choice("order", TrailQuery.Order.allCases.map(\.rawValue)).flatMap { TrailQuery.Order(rawValue: $0) }
            ?? .newest
    }

    /// The address of the page after this one, with the same filters.
    private func next(_ path: String, _ query: Query, _ limit: Int, after: Int64) -> String {
        let kept =
            ([
                "actor", "token", "type", "category", "job", "code", "from", "to", "correlation_id", "text", "order",
            ] as [ExactText])
            .flatMap { name in
                query.all(name).map { "\(name)=\(Query.encoded($0))&" }
            }
        return "\(path)?\(kept.joined())limit=\(limit)&after=\(after)"
    }
}

extension TrailEntry {
    /// A JSON object with every member. A stream of another category than that of jobs has two in
    /// place of `job`.
    fileprivate var json: [UInt8] {
        var json = Array("{\"position\":\(position),\"event_id\":\"\(eventID.text)\",\"actor\":".utf8)
        json.append(jsonString: actor)
        json += stream.category == .job ? ",\"job\":".utf8 : ",\"category\":\"\(stream.category)\",\"stream\":".utf8
        json.appendJSON(string: stream.id)
        json +=
            ",\"version\":\(version),\"type\":\"\(type.rawValue)\",\"recorded_at\":\"\(recordedAt)\",\"occurred_at\":"
            .utf8
        json.append(jsonString: occurredAt.map { "\($0)" })
        for (name, value) in [
            ("correlation_id", correlationID?.text), ("causation_id", causationID?.text), ("source", source),
            ("detail", detail),
        ] {
            json += ",\"\(name)\":".utf8
            json.append(jsonString: value)
        }
        json.append(UInt8(ascii: "}"))
        return json
    }
}

extension RecordedRefusal {
    /// A JSON object with every member.
    fileprivate var json: [UInt8] {
        var json = Array(
            "{\"number\":\(number),\"first_at\":\"\(firstAt)\",\"last_at\":\"\(lastAt)\",\"times\":\(times)".utf8)
        for (name, value) in [
            ("token", token?.text), ("token_name", tokenName), ("peer", peer), ("method", method), ("path", path),
            ("actor", actor?.text), ("category", category), ("job", job?.text), ("type", type),
            ("event_id", eventID?.text), ("code", code), ("detail", detail), ("noted_by", notedBy),
        ] {
            json += ",\"\(name)\":".utf8
            json.append(jsonString: value)
        }
        json.append(UInt8(ascii: "}"))
        return json
    }
}
