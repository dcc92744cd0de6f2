import EventStore
import HTTPTypes
import Hummingbird
import LedgerCore
import Projections

/// The routes that return jobs and their runs.
struct JobRoutes: Sendable {
    let store: EventStore
    let tables: JobTables
    /// The definition of `batch_jobs`.
    let definition: ProjectionDefinition

    var routes: [Route] {
        [
            Route(.get, "/v1/jobs", scope: .read, waitingFor: JobTables.jobs, list),
            Route(.get, "/v1/jobs/{id}", scope: .read, waitingFor: JobTables.jobs, job),
            Route(.get, "/v1/jobs/{id}/runs", scope: .read, waitingFor: JobTables.runs, runs),
        ]
    }

    private static let statuses = ["queued", "running", "finished", "failed"]
    private static let kinds = ["server", "local"]

    @Sendable private func list(_ authorized: AuthorizedRequest) async throws -> Response {
        let query = authorized.query
        try query.allow("status", "kind", "limit", "after", "min_position")
        let (status, kind) = (try query.choice("status", Self.statuses), try query.choice("kind", Self.kinds))
        let limit = try query.limit()
        let after = try query.exact("after")
        guard let page = try await tables.list(status: status, kind: kind, after: after, limit: limit) else {
            throw Problem.invalidRequest("\"after\" must be the id of the last job of the page before")
        }
        let filters = [("status", status), ("kind", kind)].compactMap { name, value in value.map { "\(name)=\($0)&" } }
            .joined()
        return answer("jobs", page) { "/v1/jobs?\(filters)limit=\(limit)&after=\(Query.encoded($0))" }
    }

    @Sendable private func job(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow("at", "min_position")
        let (position, row): (Position, String?)
        if let at = try authorized.pastMoment() {
            position = try await store.position(of: at)
            row = try await StreamReadModel(definition, of: .job, store: store).row(authorized.job, at: position)
        } else {
            (position, row) = try await tables.job(authorized.job)
        }
        return try .row(row, of: .job, at: position)
    }

    @Sendable private func runs(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow("limit", "after", "min_position")
        let limit = try authorized.query.limit()
        let after = try authorized.query.integer("after", -1...Int64(Int32.max)) ?? -1
        guard let page = try await tables.runs(of: authorized.job, after: after, limit: limit) else {
            throw Problem(.notFound, "unknown_job", "there is no such job")
        }
        return answer("runs", page) { "/v1/jobs/\(Query.encoded(authorized.job))/runs?limit=\(limit)&after=\($0)" }
    }

    private func answer(_ name: String, _ page: JobTables.Page, next: (String) -> String) -> Response {
        var response = Response.page(name, page.items, next: page.next.map(next)) { $1 += $0.utf8 }
        response.headers[.ledgerPosition] = "\(page.position)"
        return response
    }
}
