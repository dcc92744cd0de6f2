import EventStore
import HTTPTypes
import Hummingbird
import LedgerCore
import Postgres
import Projections

/// The routes that say which events made rows what they are, and what changed between two moments.
struct HistoryRoutes: Sendable {
    let store: EventStore
    let definitions: [ProjectionDefinition]
    /// The definition of `batch_jobs`.
    let jobs: ProjectionDefinition

    var routes: [Route] {
        [
            Route(.get, "/v1/jobs/{id}/blame", scope: .read, blameOfJob),
            Route(.get, "/v1/streams/{category}/{id}/blame", scope: .read, blameOfStream),
            Route(.get, "/v1/diff", scope: .read, diff),
        ]
    }

    // MARK: Blame

    @Sendable private func blameOfJob(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow("at")
        return try await blame(authorized, in: jobs)
    }

    @Sendable private func blameOfStream(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow("at", "read_model")
        let name = try authorized.query.text("read_model")
        return try await blame(
            authorized, in: try await definitions.showing(authorized.category, named: name, in: store))
    }

    private func blame(_ authorized: AuthorizedRequest, in definition: ProjectionDefinition) async throws -> Response {
        let category = authorized.category
        let position =
            if let at = try authorized.query.moment("at") {
                try await store.position(of: at)
            } else {
                try await store.head()
            }
        let columns = try await Blame(definition, of: category, ledger: store.ledger).run(
            authorized.job, at: position, in: store.pool)
        guard let columns else {
            // Whether there is such a category matters only where there is no stream.
            try await store.require(category)
            throw Problem.noStream(of: category, at: position)
        }
        var json = Array("{\"position\":\(position),\"columns\":{".utf8)
        for (index, column) in columns.enumerated() {
            if index > 0 { json.append(UInt8(ascii: ",")) }
            json.appendJSON(string: column.name)
            json.append(UInt8(ascii: ":"))
            json += column.event?.json ?? Array("null".utf8)
        }
        json += "}}".utf8
        var response = Response.json(json)
        response.headers[.ledgerPosition] = "\(position)"
        return response
    }

    // MARK: Differences

    /// What the parameters of `/v1/diff` name.
    private struct Wanted {
        var category: Category
        /// `nil` for all streams of the category.
        var stream: JobID?
        var readModel: String?

        init(_ query: Query) throws(Problem) {
            let named = try query.category()
            category = named ?? .job
            readModel = try query.text("read_model")
            let (job, stream) = (try query.exact("job"), try query.exact("stream"))
            guard job == nil || stream == nil else {
                throw .invalidRequest("give \"job\", or \"stream\" with its \"category\", not both")
            }
            guard job == nil || category == .job else {
                throw .invalidRequest(
                    "\"job\" names a job: a stream of the category \(category) is named by \"stream\"")
            }
            guard stream == nil || named != nil else {
                throw .invalidRequest("\"stream\" needs its \"category\"; a job is named by \"job\"")
            }
            self.stream = job ?? stream
        }

        /// The parameters of the next page that say what is compared.
        var filters: String {
            (category == .job ? "" : "category=\(category)&")
                + (readModel.map { "read_model=\(Query.encoded($0))&" } ?? "")
        }
    }

    @Sendable private func diff(_ authorized: AuthorizedRequest) async throws -> Response {
        let query = authorized.query
        try query.allow("from", "to", "job", "category", "stream", "read_model", "limit", "after")
        guard let first = try query.moment("from"), let last = try query.moment("to") else {
            throw Problem.invalidRequest(
                "name both moments, \"from\" and \"to\", each a position or a time; 0 is before all events")
        }
        let wanted = try Wanted(query)
        let (limit, after) = (try query.limit(), try query.position("after"))
        guard wanted.stream == nil || after == nil else {
            throw Problem.invalidRequest("\"after\" is for pages: of one stream there is one page")
        }
        let (from, to) = (try await store.position(of: first), try await store.position(of: last))
        guard from <= to else {
            throw Problem.invalidRequest("\"from\" is position \(from), which is after \"to\", position \(to)")
        }
        try await require(wanted, at: to)
        let definition =
            if wanted.category == .job, wanted.readModel == nil {
                jobs
            } else {
                try await definitions.showing(wanted.category, named: wanted.readModel, in: store)
            }
        let page = try await store.pool.withConnection { connection in
            try await Changes(definition, of: wanted.category, ledger: store.ledger).page(
                from: from, to: to, stream: wanted.stream, after: after, limit: limit, on: connection)
        }
        let next = page.next.map { "/v1/diff?from=\(from)&to=\(to)&\(wanted.filters)limit=\(limit)&after=\($0)" }
        return Self.answer(page, from, to, wanted.category, next: next)
    }

    private func require(_ wanted: Wanted, at position: Position) async throws {
        try await store.require(wanted.category)
        guard let stream = wanted.stream else { return }
        let query = EventQuery(upTo: position, category: wanted.category, job: stream, limit: 1)
        if try await store.page(query).isEmpty { throw Problem.noStream(of: wanted.category, at: position) }
    }

    private static func answer(
        _ page: ChangePage, _ from: Position, _ to: Position, _ category: Category, next: String?
    ) -> Response {
        var json = Array("{\"from\":\(from),\"to\":\(to),".utf8)
        json += (category == .job ? "\"jobs\":" : "\"category\":\"\(category)\",\"streams\":").utf8
        json.append(list: page.changes) { change, json in
            json += "{\"id\":".utf8
            json.appendJSON(string: change.stream)
            json += ",\"event_count\":\(change.eventCount),\"changes\":\(change.columns)".utf8
            json += ",\"before\":\(change.before ?? "null"),\"after\":\(change.after ?? "null")}".utf8
        }
        json += ",\"next\":".utf8
        json.append(jsonString: next)
        json.append(UInt8(ascii: "}"))
        var response = Response.json(json)
        response.headers[.ledgerPosition] = "\(to)"
        return response
    }
}

extension Blame.Event {
    /// A JSON object with every member.
    fileprivate var json: [UInt8] {
        var json = Array("{\"position\":\(position),\"version\":\(version),\"type\":\"\(type)\",\"actor\":".utf8)
        json.append(jsonString: actor)
        json += ",\"recorded_at\":\"\(recordedAt)\",\"occurred_at\":".utf8
        json.append(jsonString: occurredAt.map { "\($0)" })
        json.append(UInt8(ascii: "}"))
        return json
    }
}

extension [ProjectionDefinition] {
    /// The definition whose rows show the streams of a category.
    /// - Throws: a ``Problem`` if it is not clear which, or there is none.
    func showing(_ category: Category, named name: String?, in store: EventStore) async throws -> ProjectionDefinition {
        do {
            return try ProjectionDefinition.showing(category, named: name, among: self)
        } catch {
            // Perhaps because there is no such category.
            try await store.require(category)
            guard error.showing.isEmpty else { throw Problem.invalidRequest("\"read_model\": \(error)") }
            throw Problem(.notFound, "not_found", "\(error)")
        }
    }
}

extension Problem {
    static func noStream(of category: Category, at position: Position) -> Problem {
        Problem(.notFound, "unknown_job", "there is no such \(category) at position \(position)")
            .adding(.ledgerPosition, "\(position)")
    }
}
