internal import EventStore
internal import HTTPTypes
internal import Hummingbird
internal import LedgerCore

/// Events, as pages and as streams.
struct EventRoutes: Sendable {
    let store: EventStore
    let pages: EventPages
    let streams: EventStreams

    var routes: [Route] {
        [
            Route(.get, "/v1/events", scope: .read, ofAll),
            Route(.get, "/v1/jobs/{id}/events", scope: .read, ofJob),
        ]
    }

    /// `after` is a position, or `head`.
    @Sendable private func ofAll(_ call: Call) async throws -> Response {
        if call.wantsStream { return try await streams.ofAll(call) }
        let query = call.query
        try query.allow("after", "limit", "type")
        // Of no use for a page, and a mistake all the same where it is malformed.
        _ = try streams.lastEventID(call)
        let limit = Int(try query.integer("limit", 1...1000) ?? 100)
        let types = try query.types()
        let page = try await pages.page(EventQuery(after: try await pages.position(query), types: types, limit: limit))
        return answer(page) { last in "/v1/events?\(filters(types))limit=\(limit)&after=\(last.position)" }
    }

    /// `after` is a version of the job, as it is in a CloudEvent's `dataref`.
    @Sendable private func ofJob(_ call: Call) async throws -> Response {
        if call.wantsStream { return try await streams.ofJob(call) }
        let query = call.query
        try query.allow("after", "limit", "type")
        // Of no use for a page, and a mistake all the same where it is malformed.
        _ = try streams.lastEventID(call)
        let limit = Int(try query.integer("limit", 1...1000) ?? 100)
        let types = try query.types()
        let version = try query.integer("after", 0...Int64(Int32.max)) ?? 0
        let position = version == 0 ? 0 : try await pages.position(of: call.job, version: Int32(version))
        let page = try await pages.page(EventQuery(after: position, job: call.job, types: types, limit: limit))
        if page.events.isEmpty, try await !pages.exists(call.job) {
            throw Problem(.notFound, "unknown_job", "there is no such job")
        }
        return answer(page) { last in
            "/v1/jobs/\(Query.encoded(call.job))/events?\(filters(types))limit=\(limit)&after=\(last.version)"
        }
    }

    private func filters(_ types: Set<EventType>?) -> String {
        (types ?? []).map { "type=\($0.rawValue)&" }.sorted().joined()
    }

    private func answer(_ page: EventPages.Page, next: ((position: Position, version: Int32)) -> String) -> Response {
        let last = page.hasMore ? page.last : nil
        return .page("events", page.events, next: last.map(next), size: page.events.reduce(100) { $0 + $1.count + 1 }) {
            $1 += $0
        }
    }
}
