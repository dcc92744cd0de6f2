import EventStore
import HTTPTypes
import Hummingbird
import LedgerCore
import Postgres

/// The routes that append events.
struct AppendRoutes: Sendable {
    let store: EventStore
    let commits: GroupCommit
    let bodies: BodyBudget
    let metrics: Metrics
    let refusals: RefusalRecorder

    private static let ofJob = "/v1/jobs/{id}/events"
    private static let ofStream = "/v1/streams/{category}/{id}/events"
    private static let ofMany = "/v1/events"

    var routes: [Route] {
        [
            Route(.post, Self.ofJob, scope: .append) { try await toStream($0, Self.ofJob) },
            Route(.post, Self.ofStream, scope: .append) { try await toStream($0, Self.ofStream) },
            Route(.post, Self.ofMany, scope: .append, toStreams),
        ]
    }

    /// Records, for an auditor, who tried to append what and why it was refused. It searches the
    /// metadata for the actor, which takes long if the metadata is large.
    private func recordRefusal(
        _ refusal: Refusal, _ authorized: AuthorizedRequest, _ path: String, to stream: StreamKey?, event: NewEvent?
    ) {
        refusals.record(
            RefusedAttempt(
                authorized, path: path, stream: stream, event: event, code: refusal.code.rawValue,
                detail: refusal.message),
            isKnown: true)
    }

    // MARK: One stream

    /// - Parameter path: the route's, for the record of refusals.
    private func toStream(_ authorized: AuthorizedRequest, _ path: String) async throws -> Response {
        let wish = try DurabilityWish(authorized.query)
        return try await bodies.withBody(of: authorized) { bytes in
            let (isOne, request) = try await BackgroundWork.run(bytes: bytes.count) {
                try parse(bytes, authorized, path)
            }
            let start = ContinuousClock.now
            let appended: [Appended]
            do {
                appended = try await commits.append(request, atLeast: wish.level, within: wish.limit)
            } catch let error as NotDurable {
                throw notDurable(request.events.map(\.id), error)
            } catch  where error is OutcomeUnknown || error is CancellationError {
                // The append shares its transaction with others, which continues although this
                // request was cut off.
                throw unknown(request.events.map(\.id))
            } catch let refusal as Refusal {
                metrics.appended(request, .failure(refusal), in: start.duration(to: .now))
                await BackgroundWork.run(bytes: bytes.count) {
                    recordRefusal(
                        refusal, authorized, path, to: authorized.stream,
                        event: request.events.count == 1 ? request.events[0] : nil)
                }
                throw await told(refusal, of: request, to: authorized)
            }
            metrics.appended(request, .success(appended), in: start.duration(to: .now))
            var json: [UInt8] = []
            if isOne {
                append(appended[0], to: &json)
            } else {
                json.append(list: appended) { append($0, to: &$1) }
            }
            return .json(json, status: appended.allSatisfy(\.isDuplicate) ? .ok : .created)
        }
    }

    /// Parses the body.
    /// - Returns: whether the body is one event and not an array, and what to append.
    private func parse(
        _ bytes: [UInt8], _ authorized: AuthorizedRequest, _ path: String
    ) throws -> (isOne: Bool, AppendRequest) {
        do {
            var body = try SentBody(
                bytes, authorized.request.headers, of: authorized.category, needsJob: false,
                maxEvents: AppendLimits.eventsInRequest)
            try applyIdempotencyKey(authorized.request.headers, to: &body)
            return (body.isOne, try request(of: body, authorized))
        } catch let refusal as Refusal {
            recordRefusal(refusal, authorized, path, to: authorized.stream, event: nil)
            throw refusal
        }
    }

    private func request(of body: SentBody, _ authorized: AuthorizedRequest) throws(Refusal) -> AppendRequest {
        let events = try body.wholeEvents()
        guard !events.isEmpty else { throw Refusal(.invalidEvent, "the array has no events: send at least one") }
        guard events.allSatisfy({ $0.job ?? authorized.job == authorized.job }) else {
            throw Refusal(
                .invalidEvent, "\"subject\" must be the \(authorized.category) in the path, or be left out")
        }
        // Only CloudEvents name a category here.
        if let other = events.lazy.compactMap(\.category).first(where: { $0 != authorized.category }) {
            throw Refusal(
                .invalidEvent,
                "\"type\" is one of the category \(other), and the path is of the category \(authorized.category)")
        }
        // All events are appended or none, so the condition of the first is enough.
        guard events.dropFirst().allSatisfy({ $0.expectedVersion == nil }) else {
            throw Refusal(
                .invalidEvent,
                "give \"expected_version\" in the first event only: an array is appended as a whole")
        }
        return AppendRequest(
            category: authorized.category, job: authorized.job, events: events.map { withTrace($0.event, authorized) },
            expectedVersion: events[0].expectedVersion)
    }

    /// The header is another way to give the id of a single event.
    private func applyIdempotencyKey(_ headers: HTTPFields, to body: inout SentBody) throws {
        guard let header = headers.first(.idempotencyKey) else { return }
        guard case .one(var event) = body else {
            throw Problem.invalidRequest("Idempotency-Key is for one event; in an array give each its \"event_id\"")
        }
        // The header's draft standard has quotes around the key; most clients send none.
        let key =
            header.hasPrefix("\"") && header.hasSuffix("\"") && header.utf8.count > 1
            ? String(header.dropFirst().dropLast()) : header
        guard let id = EventID(text: key) else {
            throw Problem.invalidRequest("Idempotency-Key must be a UUID: it is the event's id")
        }
        guard !event.hasID || event.event.id == id else {
            throw Problem.invalidRequest("Idempotency-Key differs from the event's own id")
        }
        event.event.id = id
        event.hasID = true
        body = .one(event)
    }

    private func withTrace(_ event: NewEvent, _ authorized: AuthorizedRequest) -> NewEvent {
        guard let trace = TraceContext(authorized.request.headers) else { return event }
        var event = event
        trace.add(to: &event.metadata)
        return event
    }

    /// The answer includes all event ids, even those that the service generated, so that the client
    /// can retry with them.
    private func unknown(_ ids: [EventID]) -> Problem {
        let list = ids.map { "\"\($0.text)\"" }.joined(separator: ",")
        return Problem.unavailable(
            "it is not known whether the events were written; send them again with the same event ids",
            code: "outcome_unknown"
        ).adding("event_ids", json: "[\(list)]")
    }

    private func notDurable(_ ids: [EventID], _ error: NotDurable) -> Problem {
        let list = ids.map { "\"\($0.text)\"" }.joined(separator: ",")
        return Problem.unavailable(
            "the events are written, but the standbys have not confirmed them in time, and a failover may lose them; "
                + "send them again with the same event ids to wait on",
            code: "not_durable"
        ).adding("event_ids", json: "[\(list)]")
    }

    // MARK: Many streams

    /// Appends events of many jobs, and of other streams, in their order, a thousand per call. Each
    /// succeeds or fails by itself.
    @Sendable private func toStreams(_ authorized: AuthorizedRequest) async throws -> Response {
        let wish = try DurabilityWish(authorized.query)
        guard authorized.request.headers[.idempotencyKey] == nil else {
            throw Problem.invalidRequest("Idempotency-Key is for a single event; here give each its \"event_id\"")
        }
        return try await bodies.withBody(of: authorized) { bytes in
            let items = try await BackgroundWork.run(bytes: bytes.count) { try requests(in: bytes, authorized) }
            // Encoding for Postgres takes time in proportion to the size.
            let answers = try await withTaskExecutorPreference(
                bytes.count > BackgroundWork.small ? globalConcurrentExecutor : nil
            ) {
                try await append(items.compactMap { try? $0.get() }, wish)
            }
            var rest = answers[...]
            // An item that was sent to the ledger has the next of its answers.
            let results = items.map { item in (item: item, answer: item.flatMap { _ in rest.removeFirst() }) }
            let holders = await holders(against: Self.notUnique(results), authorized)
            return .json(await BackgroundWork.run(bytes: bytes.count) { json(results, holders, authorized) })
        }
    }

    private typealias ItemResult = (item: Result<AppendRequest, Refusal>, answer: AppendAnswer)

    /// The requests that were refused because a value is not unique, by their places.
    private static func notUnique(_ results: [ItemResult]) -> [Int: AppendRequest] {
        var requests: [Int: AppendRequest] = [:]
        for (place, result) in results.enumerated() {
            if case .failure(let refusal) = result.answer, refusal.code == .notUnique {
                requests[place] = try? result.item.get()
            }
        }
        return requests
    }

    private func json(
        _ results: [ItemResult], _ holders: [Int: ClaimHolder], _ authorized: AuthorizedRequest
    ) -> [UInt8] {
        var json = Array("{\"results\":".utf8)
        json.append(list: results.enumerated()) { place, json in
            let (item, answer) = place.element
            if case .failure(let refusal) = answer {
                let request = try? item.get()
                recordRefusal(
                    refusal, authorized, Self.ofMany, to: request.map { StreamKey($0.category, $0.job) },
                    event: request?.events[0])
            }
            append(answer, holder: holders[place.offset], to: &json)
        }
        json.append(UInt8(ascii: "}"))
        return json
    }

    private func requests(in bytes: [UInt8], _ authorized: AuthorizedRequest) throws -> [Result<AppendRequest, Refusal>]
    {
        let body = try SentBody(
            bytes, authorized.request.headers, needsJob: true, maxEvents: AppendLimits.eventsInCall)
        return body.events.map { item in
            item.flatMap { event in
                guard let job = event.job else {
                    return .failure(
                        Refusal(.invalidEvent, "\"subject\" is missing: it names the \(event.category ?? .job)"))
                }
                return .success(
                    AppendRequest(
                        category: event.category ?? .job, job: job, events: [withTrace(event.event, authorized)],
                        expectedVersion: event.expectedVersion))
            }
        }
    }

    private func append(_ requests: [AppendRequest], _ wish: DurabilityWish) async throws -> [AppendAnswer] {
        let start = ContinuousClock.now
        do {
            let answers = try await store.append(
                requests, atLeast: wish.level, timeout: commits.settings.timeout, within: wish.limit,
                callTimeout: commits.settings.callTimeout)
            let duration = start.duration(to: .now)
            for (request, answer) in zip(requests, answers) { metrics.appended(request, answer, in: duration) }
            return answers
        } catch let error as NotDurable {
            throw notDurable(requests.map(\.events[0].id), error)
        } catch  where error is OutcomeUnknown || error is CancellationError {
            // Some may have been written, others not.
            throw unknown(requests.map(\.events[0].id))
        }
    }

    private func append(_ answer: AppendAnswer, holder: ClaimHolder?, to json: inout [UInt8]) {
        switch answer {
        case .success(let appended): append(appended[0], to: &json)
        case .failure(let refusal):
            json += "{\"error\":{\"code\":\"\(refusal.code.rawValue)\",\"message\":".utf8
            json.appendJSON(string: refusal.message)
            if let holder { json += ",\"holder\":".utf8 + holder.json }
            json += "}}".utf8
        }
    }

    private func append(_ appended: Appended, to json: inout [UInt8]) {
        json += #"{"position":\#(appended.position),"version":\#(appended.version)"#.utf8
        json += #","event_id":"\#(appended.eventID.text)","duplicate":\#(appended.isDuplicate)"#.utf8
        json += #","durability":"\#(appended.durability.rawValue)"}"#.utf8
    }
}

extension Response {
    static func json(_ json: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: json)))
    }
}

extension Response {
    /// One page of a list.
    /// - Parameters:
    ///   - name: the JSON member that has the list.
    ///   - next: the address of the next page.
    ///   - size: about how many bytes the page has.
    static func page<Item>(
        _ name: String, _ items: [Item], next: String?, size: Int = 0, _ element: (Item, inout [UInt8]) -> Void
    ) -> Response {
        var json: [UInt8] = []
        json.reserveCapacity(size)
        json += "{\"\(name)\":".utf8
        json.append(list: items, element)
        json += ",\"next\":".utf8
        json.append(jsonString: next)
        json.append(UInt8(ascii: "}"))
        return .json(json)
    }
}

extension [UInt8] {
    /// Appends the text as JSON, or null.
    mutating func append(jsonString text: String?) {
        if let text { appendJSON(string: text) } else { self += "null".utf8 }
    }

    mutating func append(jsonString text: ExactText?) { append(jsonString: text?.text) }

    /// Appends a JSON array.
    mutating func append<Item>(list: some Sequence<Item>, _ element: (Item, inout [UInt8]) throws -> Void) rethrows {
        append(UInt8(ascii: "["))
        var isFirst = true
        for item in list {
            if !isFirst { append(UInt8(ascii: ",")) }
            isFirst = false
            try element(item, &self)
        }
        append(UInt8(ascii: "]"))
    }
}
