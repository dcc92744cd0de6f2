import EventStore
import Feed
import HTTPTypes
import Hummingbird
import LedgerCore
import NIOCore
import Postgres

/// Answers requests for event streams (server-sent events).
struct EventStreams: Sendable {
    let store: EventStore
    let feed: Feed
    let pages: EventPages
    let streams: OpenStreams
    let count: StreamCount
    let metrics: Metrics
    let heartbeat: Duration

    /// The maximum number of jobs on one stream.
    private static let maxJobs = 1000

    /// A stream of all events, of those of `?category=`, or of the jobs in `?job=`; `after` is a
    /// position.
    func ofAll(_ authorized: AuthorizedRequest) async throws -> Response {
        let query = authorized.query
        try query.allow("job", "category", "type", "after", "last_event_id", "conflate", "access_token")
        let jobs = query.all("job").map { JobID($0) }
        guard jobs.count <= Self.maxJobs else {
            throw Problem.invalidRequest(
                "\"job\" may be given at most \(Self.maxJobs) times; without it the stream has all jobs")
        }
        let category = try query.category()
        if let category, category != .job, !jobs.isEmpty {
            throw Problem.invalidRequest(
                "\"job\" and another category exclude each other: /v1/streams/\(category)/ID/events has one stream")
        }
        let after = try await pages.position(query)
        let place = try lastEventID(authorized) ?? Place(after)
        return try await stream(authorized, category, jobs: jobs.isEmpty ? nil : Set(jobs), after: place)
    }

    /// A stream of one job, which ends with it, or of one stream of another category, which does
    /// not end; `after` is a version of it.
    func ofStream(_ authorized: AuthorizedRequest) async throws -> Response {
        let query = authorized.query
        try query.allow("type", "after", "last_event_id", "conflate", "access_token")
        let version = try query.integer("after", 0...Int64(Int32.max)) ?? 0
        var place = try lastEventID(authorized)
        if place == nil, version > 0 {
            place = Place(
                try await pages.position(of: authorized.category, authorized.job, version: Int32(version)))
        }
        return try await stream(authorized, authorized.category, jobs: [authorized.job], after: place ?? 0)
    }

    /// The last event that the client received before it lost the connection. A browser sets the
    /// header by itself on reconnecting, so the header is newer than the parameter in the address.
    func lastEventID(_ authorized: AuthorizedRequest) throws(Problem) -> Place? {
        if let header = authorized.request.headers[.lastEventID], !header.isEmpty {
            return try Self.place("Last-Event-ID", header)
        }
        return try authorized.query.text("last_event_id").map { text throws(Problem) in
            try Self.place("\"last_event_id\"", text)
        }
    }

    private static func place(_ name: String, _ text: String) throws(Problem) -> Place {
        guard let place = Place(text) else {
            throw .invalidRequest(
                "\(name) must be the id of an event of this stream, such as 1207.3f2a9c1e or 1207, "
                    + "not \(Query.quoted(text))")
        }
        return place
    }

    /// - Parameter category: of the streams in `jobs`, or of all that are wanted; `nil` for all.
    private func stream(
        _ authorized: AuthorizedRequest, _ category: Category?, jobs: Set<JobID>?, after place: Place
    ) async throws -> Response {
        let (types, rate) = (try authorized.query.types(of: category), try conflation(authorized.query))
        let wanted = Wanted(category: category, jobs: jobs, types: types)
        let known: JobEnds
        do {
            known = try await JobEnds.load(
                wanted.endingJobs, of: category, types: types, after: place, in: store)
        } catch let error as PostgresError where error.isOutage {
            return try waiting(authorized)
        }
        // A place with an epoch gets an event that says what is shared.
        guard place.epoch != nil || place.position <= known.head else {
            throw Problem.anotherLedger(place.position, head: known.head)
        }
        let opening = opening(wanted, after: place, known)
        // A browser's EventSource reconnects after the end of a stream; 204 tells it not to.
        if opening.unended == [] { return Response(status: .noContent) }
        let room = try count.enter(authorized.token)
        let reopen = { @Sendable (place: Place) async throws -> EventStream.Opening in
            let ends = try await retryingPostgres {
                try await JobEnds.load(wanted.endingJobs, after: place, in: store)
            }
            return self.opening(wanted, after: place, ends)
        }
        let stream = EventStream(
            streams: streams, metrics: metrics, opening: opening, place: known.place(place), types: types,
            reopen: reopen, conflation: rate.map(Conflation.init), heartbeat: heartbeat, token: authorized.token)
        let channel = authorized.context.channel
        var headers = Self.headers
        headers[.ledgerEpoch] = known.epoch.text
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                try await stream.run(until: channel.closeFuture, &writer)
                withExtendedLifetime(room) {}
            })
    }

    /// What a stream has.
    private struct Wanted: Sendable {
        let category: Category?
        let jobs: Set<JobID>?
        let types: Set<EventType>?

        /// The jobs after whose last events the stream ends. Streams of other categories do not end
        /// it.
        var endingJobs: Set<JobID> { category ?? .job == .job ? jobs ?? [] : [] }
    }

    private func opening(_ wanted: Wanted, after place: Place, _ known: JobEnds) -> EventStream.Opening {
        guard !wanted.endingJobs.isEmpty else {
            let subscription = feed.subscribe(
                after: known.place(place), category: wanted.category, jobs: wanted.jobs, types: wanted.types)
            return EventStream.Opening(subscription: subscription, unended: nil)
        }
        // A client whose history is another behind the shared position may lack the end there.
        let unended = wanted.endingJobs.filter { known.ends[$0] ?? .max > known.shared }
        let subscription = feed.subscribe(
            after: known.place(place), jobs: unended,
            // The last events of jobs end the stream, so subscribe to them even if the client does
            // not want them.
            types: wanted.types.map { $0.union([.finished, .failed]) })
        return EventStream.Opening(subscription: subscription, unended: unended)
    }

    /// A stream that waits while the database is away. It ends when the database is back, and the
    /// client's next request gets its events, or the reason why it gets none. An error now would
    /// end a browser's `EventSource` for good.
    private func waiting(_ authorized: AuthorizedRequest) throws -> Response {
        let place = try count.enter(authorized.token)
        let stream = WaitingStream(streams: streams, store: store, heartbeat: heartbeat, token: authorized.token)
        let channel = authorized.context.channel
        return Response(
            status: .ok, headers: Self.headers,
            body: ResponseBody { writer in
                try await stream.run(until: channel.closeFuture, &writer)
                withExtendedLifetime(place) {}
            })
    }

    private static let headers: HTTPFields = [
        .contentType: EventStream.mediaType, .cacheControl: "no-store", .vary: "Accept", .accelBuffering: "no",
    ]

    /// The rate in `?conflate=`, per second.
    private func conflation(_ query: Query) throws -> Double? {
        guard let text = try query.text("conflate") else { return nil }
        guard let rate = Double(text), (0.1...100).contains(rate) else {
            throw Problem.invalidRequest(
                "\"conflate\" must be a rate per second from 0.1 to 100, not \(Query.quoted(text))")
        }
        return rate
    }

}

extension HTTPField.Name {
    /// Turns off nginx's buffering, which would hold back events.
    static let accelBuffering = HTTPField.Name("X-Accel-Buffering")!
    /// The epoch of the stream. In another epoch positions mean other events.
    static let ledgerEpoch = HTTPField.Name("Jobledger-Epoch")!
}
