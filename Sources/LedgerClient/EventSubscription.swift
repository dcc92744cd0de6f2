import AsyncHTTPClient
public import LedgerCore
import NIOCore
import NIOHTTP1
public import TransparencyLog

extension LedgerClient {
    /// Events as they come, from a position on: each once, in order, over any number of
    /// connections.
    /// - Parameters:
    ///   - after: the last position that was seen; 0 for all there are.
    ///   - job: only this one; the sequence ends behind its last event.
    ///   - types: only these.
    public func subscribe(after: Position = 0, job: JobID, types: Set<EventType>? = nil) -> EventSubscription {
        EventSubscription(client: self, path: "/v1/jobs/\(Self.encoded(job))/events?", after: after, types: types)
    }

    /// Events of several jobs, or of all, as they come: each once, in order, over any number of
    /// connections.
    /// - Parameters:
    ///   - after: the last position that was seen; 0 for all there are.
    ///   - jobs: only these, at most 1,000; the sequence ends when all of them have ended. `nil`
    ///     for all jobs, without an end.
    ///   - types: only these.
    public func subscribe(after: Position = 0, jobs: Set<JobID>? = nil, types: Set<EventType>? = nil)
        -> EventSubscription
    {
        let jobs = (jobs ?? []).sorted().map { "job=\(Self.encoded($0))&" }.joined()
        return EventSubscription(client: self, path: "/v1/events?\(jobs)", after: after, types: types)
    }
}

/// The events of one or more jobs, over HTTP. A stream that breaks, or falls silent, is taken up
/// again behind the last event, if the ledger is still of the epoch that it was of; otherwise it
/// throws an error of the kind ``LedgerClientError/Kind/anotherLedger``.
///
/// It throws ``LedgerClientError`` when the service refuses, or cannot be reached for as long as
/// the client's `retryTimeout`.
public struct EventSubscription: AsyncSequence, Sendable {
    public typealias Element = FeedEvent

    let client: LedgerClient
    let path: String
    let after: Position
    let types: Set<EventType>?
    private var witness: Witness?

    init(client: LedgerClient, path: String, after: Position, types: Set<EventType>?) {
        self.client = client
        self.path = path
        self.after = after
        self.types = types
    }

    /// The same subscription, before which, and whenever it is taken up again, the service has to
    /// prove that its history continues the one that the witness has seen. Otherwise it throws
    /// ``LedgerClientError/Kind/historyRewritten``, and gives no event.
    public func witnessed(by witness: Witness) -> EventSubscription {
        var subscription = self
        subscription.witness = witness
        return subscription
    }

    public func makeAsyncIterator() -> Iterator { Iterator(subscription: self, position: after) }

    public struct Iterator: AsyncIteratorProtocol {
        private let subscription: EventSubscription
        /// Of the last event that was given.
        public private(set) var position: Position
        /// Of the ledger that the first stream was of; `nil` where the service is too old to say.
        private var epoch: String?
        private var stream: (bytes: HTTPClientResponse.Body.AsyncIterator, parser: ServerSentEvents)?
        private var events: [FeedEvent] = []  // the next one last
        private var pause = Pause()
        private var failingSince: ContinuousClock.Instant?
        private var hasEnded = false

        init(subscription: EventSubscription, position: Position) {
            self.subscription = subscription
            self.position = position
        }

        public mutating func next() async throws -> FeedEvent? {
            while !hasEnded {
                do {
                    if let event = events.last {
                        let whole = try await whole(event)
                        events.removeLast()
                        // What a service that was restored would repeat, or a proxy, is not given
                        // twice.
                        guard event.position > position else { continue }
                        position = event.position
                        return whole
                    }
                    if stream == nil { try await open() }
                    if hasEnded { return nil }
                    try await read()
                } catch let error as LedgerClientError where error.isRetriable {
                    try Task.checkCancellation()
                    (stream, events) = (nil, [])
                    try await wait(behind: error)
                }
            }
            return nil
        }

        private mutating func open() async throws {
            if let witness = subscription.witness { try await subscription.client.verify(by: witness) }
            let types = (subscription.types ?? []).map(\.rawValue).sorted().map { "type=\($0)&" }.joined()
            var request = subscription.client.request(.GET, subscription.path + types, accept: "text/event-stream")
            request.headers.add(name: "last-event-id", value: "\(position)")
            let response = try await retriable {
                try await subscription.client.http.execute(request, deadline: .distantFuture)
            }
            switch response.status.code {
            case 200:
                try check(epoch: response.headers.first(name: "jobledger-epoch"))
                stream = (response.body.makeAsyncIterator(), ServerSentEvents())
            case 204: hasEnded = true
            default:
                let body = try await retriable { try await response.body.collect(upTo: 1 << 20) }
                throw try Problem.error(Int(response.status.code), response.headers, Array(body.readableBytesView))
            }
        }

        /// A stream that is taken up again has to be of the ledger that it was of: behind the last
        /// position there might be events by now, and others before it than those that were given.
        private mutating func check(epoch found: String?) throws {
            guard let known = epoch else {
                epoch = found
                return
            }
            guard known == found else {
                throw LedgerClientError(
                    .anotherLedger,
                    "the ledger was restored, or is another one, since position \(position) was given: start again from 0"
                )
            }
        }

        private mutating func read() async throws {
            guard var stream else { return }
            guard let bytes = try await retriable({ try await stream.bytes.next() }) else {
                // It may have come further than the events that it had to give.
                if let seen = Position(position: stream.parser.lastID) { position = Swift.max(position, seen) }
                // As a service does that is told to stop. It says when to come back.
                throw LedgerClientError(
                    .unreachable, "the stream has ended before the job did",
                    retryAfter: stream.parser.retry.map { .milliseconds(Swift.min($0, 60_000)) })
            }
            let messages: [ServerSentEvents.Message]
            do {
                messages = try stream.parser.add(bytes.readableBytesView)
            } catch {
                throw LedgerClientError(.notUnderstood, "an event longer than any")
            }
            self.stream = stream
            // The line stands, whatever it brings.
            failingSince = nil
            pause = Pause()
            do {
                events = try messages.map { try FeedEvent(json: $0.data) }.reversed()
            } catch {
                throw LedgerClientError(.notUnderstood, "an event of the stream is not what it should be: \(error)")
            }
        }

        /// Streams leave out large data; the event says where they are.
        private func whole(_ event: FeedEvent) async throws -> FeedEvent {
            guard event.data == nil, let place = event.dataReference else { return event }
            let client = subscription.client
            let pages = Pages(client: client, path: place, member: "events") { try FeedEvent(json: Array($0)) }
            for try await page in pages where page.position == event.position { return page }
            throw LedgerClientError(.notUnderstood, "\(place) does not have the data of position \(event.position)")
        }

        /// Errors of connections, which another connection may not have.
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
