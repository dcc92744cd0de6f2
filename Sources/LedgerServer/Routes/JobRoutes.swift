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
    let watch: ProjectionWatch
    let reads: ReadLimits

    var routes: [Route] {
        [
            Route(.get, "/v1/jobs", scope: .read, waitingFor: JobList.projection, list),
            Route(.get, "/v1/job-counts", scope: .read, waitingFor: JobList.countsProjection, counts),
            Route(.get, "/v1/jobs/{id}", scope: .read, waitingFor: JobTables.jobs, job),
            Route(.get, "/v1/jobs/{id}/runs", scope: .read, waitingFor: JobTables.runs, runs),
        ]
    }

    // MARK: Lists

    /// A page ends early once it has about this many bytes: errors may be long.
    private static let mostBytes = 4 << 20

    @Sendable private func list(_ authorized: AuthorizedRequest) async throws -> Response {
        var query = try JobListQuery(authorized.query)
        query.moment = try await moment(authorized, of: JobList.projection)
        let page = try await JobList(store).page(query, mostBytes: Self.mostBytes)
        let next = page.hasMore ? page.rows.last.map { nextPage(authorized.query, query, page, after: $0.id) } : nil
        var response = Response.page(
            "jobs", page.rows, next: next, more: [("position", "\(page.position)"), ("more", "\(page.hasMore)")]
        ) { $1 += $0.json.utf8 }
        response.headers[.ledgerPosition] = "\(page.position)"
        return response
    }

    /// The address of the page after this one. It names the moment by its position, if one was
    /// given, so that all pages are of the same.
    private func nextPage(_ sent: Query, _ query: JobListQuery, _ page: JobListPage, after: JobID) -> String {
        let filters = JobListQuery.parametersOfAllPages.flatMap { name in
            sent.all(name).map { "\(name)=\(Query.encoded($0))&" }
        }
        let moment = query.moment == nil ? "" : "at=\(page.position)&"
        let place =
            query.skipped > 0
            ? "offset=\(query.skipped + page.rows.count)" : "after=\(Query.encoded(after))"
        return "/v1/jobs?\(moment)\(filters.joined())limit=\(query.limit)&\(place)"
    }

    @Sendable private func counts(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow("at", "min_position")
        let moment = try await moment(authorized, of: JobList.countsProjection)
        let counts = try await JobList(store).counts(at: moment)
        var response = Response.json(
            Array(
                """
                {"position":\(counts.position),"queued":\(counts.queued),"running":\(counts.running),\
                "finished":\(counts.finished),"failed":\(counts.failed)}
                """.utf8))
        response.headers[.ledgerPosition] = "\(counts.position)"
        return response
    }

    /// The moment in `at`. The answer is of that moment and no earlier one, so this waits until the
    /// read model has come to it.
    private func moment(_ authorized: AuthorizedRequest, of projection: String) async throws -> LogMoment? {
        guard let at = try authorized.pastMoment() else { return nil }
        let position = try await store.position(of: at)
        try await watch.wait(for: position, of: projection)
        return .position(position)
    }

    // MARK: One job

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
        let (query, job) = (authorized.query, authorized.job)
        try query.allow("limit", "after", "format", "min_position")
        let format = try query.choice("format", ["json", "csv"])
        if format == "csv" || format == nil && MediaType.prefers("text/csv", in: authorized.request) {
            guard query.all("limit").isEmpty, query.all("after").isEmpty else {
                throw Problem.invalidRequest("\"limit\" and \"after\" are for pages of JSON: CSV has all runs")
            }
            guard try await tables.exists(job) else { throw Self.noSuchJob }
            return try await RunsCSV(of: job, store: store, reads: reads, sender: authorized.credential).response
        }
        let limit = try query.limit()
        let after = try query.integer("after", -1...Int64(Int32.max)) ?? -1
        guard let page = try await tables.runs(of: job, after: after, limit: limit) else { throw Self.noSuchJob }
        let next = page.next.map { "/v1/jobs/\(Query.encoded(job))/runs?limit=\(limit)&after=\($0)" }
        var response = Response.page("runs", page.items, next: next) { $1 += $0.utf8 }
        response.headers[.ledgerPosition] = "\(page.position)"
        response.headers[.vary] = "Accept"
        return response
    }

    private static let noSuchJob = Problem(.notFound, "unknown_job", "there is no such job")
}

extension JobListQuery {
    /// The parameters that the address of the next page repeats.
    fileprivate static let parametersOfAllPages: [ExactText] = [
        "status", "kind", "actor", "q", "since", "until", "variable", "metadata", "truncated", "sort", "order",
    ]

    /// What a request asks for, but for its moment.
    fileprivate init(_ sent: Query) throws(Problem) {
        try sent.allow(
            "status", "kind", "actor", "q", "since", "until", "variable", "metadata", "truncated", "at", "sort",
            "order", "limit", "after", "offset", "min_position")
        self.init(
            sort: try sent.choice("sort", Sort.allCases.map(\.rawValue)).flatMap { Sort(rawValue: $0) } ?? .queued,
            order: try sent.choice("order", Order.allCases.map(\.rawValue)).flatMap { Order(rawValue: $0) },
            limit: try sent.limit())
        statuses = Set(try sent.choices("status", Status.allCases.map(\.rawValue)).compactMap { Status(rawValue: $0) })
        kind = try sent.choice("kind", ["server", "local"])
        actor = try sent.exact("actor")
        text = try sent.text("q")
        since = try sent.time("since")
        until = try sent.time("until")
        isTruncated = try sent.choice("truncated", ["true", "false"]).map { $0 == "true" }
        variables = sent.all("variable").map { Query.parts($0) }.map { Variable(name: $0, value: $1) }
        for text in sent.all("metadata") {
            let (key, value) = Query.parts(text)
            guard let value else {
                throw .invalidRequest("\"metadata\" must be KEY:VALUE, not \(Query.quoted(text))")
            }
            metadata.append(Metadata(key: key, value: value))
        }
        try require(atMost: 20, variables.count + metadata.count)
        after = try sent.exact("after")
        skipped = Int(try sent.integer("offset", 0...Int64(Self.mostSkipped)) ?? 0)
        guard after == nil || sent.all("offset").isEmpty else {
            throw .invalidRequest("give \"after\" or \"offset\", not both")
        }
    }

    private func require(atMost most: Int, _ count: Int) throws(Problem) {
        guard count <= most else {
            throw .invalidRequest("\"variable\" and \"metadata\" may be given \(most) times together, not \(count)")
        }
    }
}
