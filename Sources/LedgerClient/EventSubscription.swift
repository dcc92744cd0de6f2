import AsyncHTTPClient
public import LedgerCore
import NIOCore
import NIOHTTP1
public import TransparencyLog

extension LedgerClient {
    /// The events of one job after a place, each once and in order, over any number of connections.
    /// - Parameters:
    ///   - after: the last place that was seen, as ``EventSubscription/Iterator/place`` has it; 0
    ///     for all events.
    ///   - job: the job; the sequence ends after its last event.
    ///   - types: only events of these types; `nil` for all.
    public func subscribe(after: Place = 0, job: JobID, types: Set<EventType>? = nil) -> EventSubscription {
        EventSubscription(client: self, path: "/v1/jobs/\(Self.encoded(job))/events?", after: after, types: types)
    }

    /// The events of one stream of a category after a place, each once and in order. For the
    /// category of jobs it is the same as ``subscribe(after:job:types:)``. A stream of another
    /// category does not end the sequence.
    /// - Parameters:
    ///   - after: the last place that was seen, as ``EventSubscription/Iterator/place`` has it; 0
    ///     for all events.
    ///   - category: the kind of the stream.
    ///   - stream: the stream's id.
    ///   - types: only events of these types; `nil` for all.
    public func subscribe(after: Place = 0, category: Category, stream: JobID, types: Set<EventType>? = nil)
        -> EventSubscription
    {
        let path = "\(Self.eventsPath(of: stream, in: category))?"
        return EventSubscription(client: self, path: path, after: after, types: types)
    }

    /// The events of all streams of a category after a place, each once and in order, without an
    /// end.
    /// - Parameters:
    ///   - after: the last place that was seen, as ``EventSubscription/Iterator/place`` has it; 0
    ///     for all events.
    ///   - category: the kind of the streams.
    ///   - types: only events of these types; `nil` for all.
    public func subscribe(after: Place = 0, category: Category, types: Set<EventType>? = nil) -> EventSubscription {
        EventSubscription(client: self, path: "/v1/events?category=\(category)&", after: after, types: types)
    }

    /// The events of the log, or of some jobs, after a place, each once and in order.
    /// - Parameters:
    ///   - after: the last place that was seen, as ``EventSubscription/Iterator/place`` has it; 0
    ///     for all events.
    ///   - jobs: at most 1,000 jobs, and the sequence ends when all of them have ended; `nil` for
    ///     all of the log, without an end. That has the events of every category.
    ///   - types: only events of jobs of these types; `nil` for all.
    public func subscribe(after: Place = 0, jobs: Set<JobID>? = nil, types: Set<EventType>? = nil)
        -> EventSubscription
    {
        let jobs = (jobs ?? []).sorted().map { "job=\(Self.encoded($0))&" }.joined()
        return EventSubscription(client: self, path: "/v1/events?\(jobs)", after: after, types: types)
    }
}

/// The events of one or more jobs, over HTTP. If a stream breaks or falls silent, the subscription
/// opens another after the last event. If the ledger has lost events that were delivered, it throws
/// an error of the kind ``LedgerClientError/Kind/diverged``, unless it is told to go on:
/// ``goingOn(afterDivergence:)``.
///
/// It throws ``LedgerClientError`` if the service refuses the request, or cannot be reached for as
/// long as the client's `retryTimeout`.
public struct EventSubscription: AsyncSequence, Sendable {
    public typealias Element = FeedEvent

    let client: LedgerClient
    let path: String
    let after: Place
    let types: Set<EventType>?
    private var witness: Witness?
    private var goOn: (@Sendable (Divergence) async throws -> Void)?

    init(client: LedgerClient, path: String, after: Place, types: Set<EventType>?) {
        self.client = client
        self.path = path
        self.after = after
        self.types = types
    }

    /// The same subscription, checked by a witness: whenever it opens a stream, the service must
    /// first prove that its history continues the one that the witness has seen. Otherwise it
    /// throws ``LedgerClientError/Kind/historyRewritten`` and delivers no event.
    public func witnessed(by witness: Witness) -> EventSubscription {
        var subscription = self
        subscription.witness = witness
        return subscription
    }

    /// The same subscription, which goes on with the ledger's own history where it has lost events
    /// that were delivered: it delivers what follows the shared place, so positions come again.
    /// - Parameter deal: is called before that, to undo what the lost events have caused. If it
    ///   throws, so does the subscription.
    public func goingOn(
        afterDivergence deal: @escaping @Sendable (Divergence) async throws -> Void
    ) -> EventSubscription {
        var subscription = self
        subscription.goOn = deal
        return subscription
    }

    public func makeAsyncIterator() -> Iterator { Iterator(subscription: self, place: after) }

    public struct Iterator: AsyncIteratorProtocol {
        private let subscription: EventSubscription
        /// The last event that was delivered, and the history that it is of. To go on later,
        /// subscribe after it.
        public private(set) var place: Place
        /// The position of the last event that was delivered.
        public var position: Position { place.position }
        private var stream: (bytes: HTTPClientResponse.Body.AsyncIterator, parser: ServerSentEvents)?
        /// In reverse order: the next event is last.
        private var messages: [ServerSentEvents.Message] = []
        private var pause = Pause()
        private var failingSince: ContinuousClock.Instant?
        private var hasEnded = false

        init(subscription: EventSubscription, place: Place) {
            self.subscription = subscription
            self.place = place
        }

        public mutating func next() async throws -> FeedEvent? {
            while !hasEnded {
                do {
                    if let message = messages.last {
                        if let event = try await take(message) { return event }
                        continue
                    }
                    if stream == nil { try await open() }
                    if hasEnded { return nil }
                    try await read()
                } catch let error as LedgerClientError where error.isRetriable {
                    try Task.checkCancellation()
                    (stream, messages) = (nil, [])
                    try await wait(behind: error)
                }
            }
            return nil
        }

        private mutating func open() async throws {
            if let witness = subscription.witness { try await subscription.client.verify(by: witness) }
            let types = (subscription.types ?? []).map(\.rawValue).sorted().map { "type=\($0)&" }.joined()
            var request = subscription.client.request(.GET, subscription.path + types, accept: "text/event-stream")
            request.headers.add(name: "last-event-id", value: place.text)
            let response = try await retriable {
                try await subscription.client.http.execute(request, deadline: .distantFuture)
            }
            switch response.status.code {
            case 200:
                stream = (response.body.makeAsyncIterator(), ServerSentEvents())
            case 204: hasEnded = true
            default:
                let body = try await retriable { try await response.body.collect(upTo: 1 << 20) }
                throw try Problem.error(Int(response.status.code), response.headers, Array(body.readableBytesView))
            }
        }

        private mutating func read() async throws {
            guard var stream else { return }
            guard let bytes = try await retriable({ try await stream.bytes.next() }) else {
                // The stream may have passed events that it did not have to deliver.
                if let seen = Place(stream.parser.lastID), seen.position > position { place = seen }
                // A service that is stopping ends its streams like this, and says when to
                // reconnect.
                throw LedgerClientError(
                    .unreachable, "the service ended the stream of events, and more may follow",
                    retryAfter: stream.parser.retry.map { .milliseconds(Swift.min($0, 60_000)) })
            }
            do {
                messages = try stream.parser.add(bytes.readableBytesView).reversed()
            } catch {
                throw LedgerClientError(.notUnderstood, "an event of the stream is longer than any event can be")
            }
            self.stream = stream
            // The connection works, whatever its events are.
            failingSince = nil
            pause = Pause()
        }

        /// Takes the last of `messages`.
        /// - Returns: `nil` if it is not an event to deliver.
        private mutating func take(_ message: ServerSentEvents.Message) async throws -> FeedEvent? {
            if message.name == "diverged" {
                try await diverge(message)
                messages.removeLast()
                return nil
            }
            let event: FeedEvent
            do {
                event = try FeedEvent(json: message.data)
            } catch {
                throw LedgerClientError(.notUnderstood, "an event of the stream is malformed: \(error)")
            }
            let whole = try await whole(event)
            messages.removeLast()
            // A proxy may repeat events; deliver each once.
            guard event.position > position else { return nil }
            place = Place(event.position, epoch: Place(message.id)?.epoch)
            return whole
        }

        private mutating func diverge(_ message: ServerSentEvents.Message) async throws {
            guard let divergence = Divergence(json: String(decoding: message.data, as: UTF8.self)) else {
                throw LedgerClientError(.notUnderstood, "the event diverged of the stream is malformed")
            }
            guard let goOn = subscription.goOn else {
                var error = LedgerClientError(.diverged, "\(divergence)")
                error.divergence = divergence
                throw error
            }
            try await goOn(divergence)
            place = divergence.shared
        }

        /// Streams leave out large data; the event says where to fetch it.
        private func whole(_ event: FeedEvent) async throws -> FeedEvent {
            guard event.data == nil, let place = event.dataReference else { return event }
            let client = subscription.client
            let pages = Pages(client: client, path: place, member: "events") { try FeedEvent(json: Array($0)) }
            for try await page in pages where page.position == event.position { return page }
            throw LedgerClientError(.notUnderstood, "\(place) does not have the data of position \(event.position)")
        }

        /// Turns errors of a connection into errors that another connection may avoid.
        private func retriable<Value>(_ body: () async throws -> Value) async throws -> Value {
            do {
                return try await body()
            } catch {
                try Task.checkCancellation()
                throw LedgerClientError.unreachable(subscription.client.url, error)
            }
        }

        private mutating func wait(behind error: LedgerClientError) async throws {
            let since = failingSince ?? .now
            failingSince = since
            guard since.duration(to: .now) < subscription.client.retryTimeout else { throw error }
            try await Task.sleep(for: pause.next(atLeast: error.retryAfter))
        }
    }
}
