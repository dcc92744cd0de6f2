import EventStore
import HTTPTypes
import Hummingbird
import LedgerCore

/// The routes that return events, as pages and as streams.
struct EventRoutes: Sendable {
    let store: EventStore
    let pages: EventPages
    let streams: EventStreams

    var routes: [Route] {
        [
            Route(.get, "/v1/events", scope: .read, ofAll),
            Route(.get, "/v1/jobs/{id}/events", scope: .read, ofStream),
            Route(.get, "/v1/streams/{category}/{id}/events", scope: .read, ofStream),
        ]
    }

    /// `after` is a position, or `head`.
    @Sendable private func ofAll(_ authorized: AuthorizedRequest) async throws -> Response {
        if authorized.wantsStream { return try await streams.ofAll(authorized) }
        let query = authorized.query
        try query.allow("after", "limit", "category", "type")
        // A page does not use it, but a malformed one is an error all the same.
        _ = try streams.lastEventID(authorized)
        let limit = try query.limit()
        let category = try query.category()
        let types = try query.types(of: category)
        let page = try await pages.page(
            after: try await pages.position(query), category: category, types: types, limit: limit)
        let filters = (category.map { "category=\($0)&" } ?? "") + filters(types)
        return answer(page) { "/v1/events?\(filters)limit=\(limit)&after=\($0)" }
    }

    /// `after` is a version of the job or stream, as it is in a CloudEvent's `dataref`.
    @Sendable private func ofStream(_ authorized: AuthorizedRequest) async throws -> Response {
        if authorized.wantsStream { return try await streams.ofStream(authorized) }
        let query = authorized.query
        try query.allow("after", "limit", "type")
        // A page does not use it, but a malformed one is an error all the same.
        _ = try streams.lastEventID(authorized)
        let limit = try query.limit()
        let types = try query.types(of: authorized.category)
        let version = Int32(try query.integer("after", 0...Int64(Int32.max)) ?? 0)
        let page = try await pages.page(
            of: authorized.category, authorized.job, after: version, types: types, limit: limit)
        guard let page else {
            throw Problem(.notFound, "unknown_job", "there is no such \(authorized.category)")
        }
        return answer(page) { "\(authorized.eventsPath)?\(filters(types))limit=\(limit)&after=\($0)" }
    }

    private func filters(_ types: Set<EventType>?) -> String {
        (types ?? []).map { "type=\($0.rawValue)&" }.sorted().joined()
    }

    private func answer(_ page: EventPages.Page, next: (Int64) -> String) -> Response {
        var response = Response.page(
            "events", page.events, next: page.next.map(next), size: page.events.reduce(100) { $0 + $1.count + 1 }
        ) { $1 += $0 }
        // The same address returns a stream to clients that accept one.
        response.headers[.vary] = "Accept"
        return response
    }
}
