import Feed
import Hummingbird
import LedgerCore
import NIOCore

/// One event stream, from its first event to its end.
///
/// It follows a subscription of the process's feed. The feed has encoded the events already, so
/// many streams send the same bytes. A client that reads slowly makes its own stream wait, whose
/// subscription falls back to the log; it delays nobody else.
struct EventStream: Sendable {
    let streams: OpenStreams
    let metrics: Metrics
    let opening: Opening
    /// What the client has when the stream begins.
    let place: Place
    /// The types that are sent; `nil` for all. The subscription also has the last events of jobs.
    let types: Set<EventType>?
    /// Opens the stream's subscription again, after a place of the present history.
    let reopen: @Sendable (Place) async throws -> Opening
    let conflation: Conflation?
    let heartbeat: Duration
    let token: AccessToken?

    /// A subscription, and the followed jobs that have not ended at its start; `nil` if it follows
    /// streams that do not end it.
    struct Opening: Sendable {
        let subscription: Subscription
        let unended: Set<JobID>?
    }

    static let mediaType = "text/event-stream"
    static let beginning = ByteBuffer(string: "retry: 1000\n\n")
    static let beat = ByteBuffer(string: ":\n\n")
    static let stopping = ByteBuffer(string: "retry: 2000\n: the service is stopping\n\n")
    /// About how many bytes are written at a time. The next write waits until the client reads.
    private static let piece = 64 << 10

    func run(until closed: EventLoopFuture<Void>, _ writer: inout any ResponseBodyWriter) async throws {
        let (places, goOn) = AsyncStream<Place>.makeStream()
        try await streams.run(token, until: closed) {
            await pump(into: $0, goingOnAfter: places)
        } write: { slot in
            try await writer.write(Self.beginning)
            try await write(slot, goOn, &writer)
        }
        try await writer.finish(nil)
    }

    /// Moves events from the subscription to the slot, as fast as the stream takes them.
    /// If the log no longer has what the stream has taken, the surviving history follows.
    /// - Parameter places: where to go on after a divergence. The stream knows what the client has,
    ///   which conflation makes less than what was taken.
    private func pump(into slot: StreamSlot, goingOnAfter places: AsyncStream<Place>) async {
        var opening = opening
        var places = places.makeAsyncIterator()
        while true {
            do {
                var events = opening.subscription.makeAsyncIterator()
                while let batch = try await events.nextBatch() { await slot.put(.events(batch, events.epoch)) }
                return slot.end(.ended)
            } catch let divergence as Divergence {
                await slot.put(.diverged(divergence))
                // None if the stream has ended.
                guard let place = await places.next() else { return }
                do {
                    opening = try await reopen(place)
                } catch {
                    return slot.end(.failed(error))
                }
                await slot.put(.reopened(unended: opening.unended))
            } catch is FeedStopped {
                return slot.end(.stopped)
            } catch {
                return slot.end(.failed(error))
            }
        }
    }

    /// The state of the stream.
    private struct Progress {
        var unended: Set<JobID>?
        var conflation: Conflation?
        /// The last event that arrived.
        var seen: Position = 0
        /// What the client has: the last event that was sent.
        var sent: Place
        /// The epoch in which the client comes to the positions that are sent now.
        var epoch: EpochDigits?
        var lastWrite = ContinuousClock.now
        let opened = Timestamp.now
    }

    private enum End {
        /// All followed jobs have ended.
        case complete
        /// The client should reconnect.
        case stopped
        /// The client has gone, or its token is no longer valid.
        case closed
    }

    private func write(
        _ slot: StreamSlot, _ goOn: AsyncStream<Place>.Continuation, _ writer: inout any ResponseBodyWriter
    ) async throws {
        var progress = Progress(unended: opening.unended, conflation: conflation, sent: place)
        let end = try await follow(slot, goOn, &progress, &writer)
        guard end != .closed else { return }
        // Send what conflation held back.
        try await send(progress.conflation?.release() ?? [], &progress, &writer)
        if end == .stopped { return try await writer.write(Self.stopping) }
        // The last event may be of a type that the client did not ask for. An id without data tells
        // the client how far it is: a browser that reconnects with this id learns that nothing
        // follows.
        if progress.seen > progress.sent.position {
            let place = Place(progress.seen, epoch: progress.epoch)
            try await writer.write(ByteBuffer(string: "id: \(place)\n\n"))
        }
    }

    private func follow(
        _ slot: StreamSlot, _ goOn: AsyncStream<Place>.Continuation, _ progress: inout Progress,
        _ writer: inout any ResponseBodyWriter
    ) async throws -> End {
        while progress.unended?.isEmpty != true {
            switch await next(slot, progress.conflation?.deadline) {
            case .news(.events(let events, let epoch)):
                progress.epoch = epoch
                try await send(selected(events, &progress), &progress, &writer)
            case .news(.diverged(let divergence)):
                try await tell(divergence, &progress, &writer)
                goOn.yield(progress.sent)
            case .news(.reopened(let unended)): progress.unended = unended
            case .alarm: try await send(progress.conflation?.take(at: .now) ?? [], &progress, &writer)
            case .tick:
                if progress.lastWrite.duration(to: .now) >= heartbeat {
                    try await writer.write(Self.beat)
                    progress.lastWrite = .now
                }
            case .stopped: return .stopped
            case .ended: return .complete
            case .closed: return .closed
            case .failed(let error): throw error
            }
        }
        return .complete
    }

    /// Tells the client what the log has lost of that which was sent, if it has, and goes back to
    /// what the client still has. What conflation holds back comes again, unless it is lost.
    private func tell(
        _ divergence: Divergence, _ progress: inout Progress, _ writer: inout any ResponseBodyWriter
    ) async throws {
        let shared = divergence.shared
        if progress.sent.position > shared.position {
            try await writer.write(
                Self.message(Divergence(place: progress.sent, shared: shared, head: divergence.head)))
            progress.lastWrite = .now
        }
        progress.conflation = conflation
        progress.sent = Place(min(progress.sent.position, shared.position), epoch: shared.epoch)
        (progress.seen, progress.epoch) = (progress.sent.position, shared.epoch)
    }

    private static func message(_ divergence: Divergence) -> ByteBuffer {
        ByteBuffer(
            string: """
                event: diverged
                id: \(divergence.shared)
                data: \(divergence.json)


                """)
    }

    /// The next item of the slot, or an alarm at the deadline.
    private func next(_ slot: StreamSlot, _ deadline: ContinuousClock.Instant?) async -> StreamSlot.Item {
        let alarm = deadline.map { deadline in
            Task {
                // Cancelled if something else happened first: then no alarm is due.
                if (try? await Task.sleep(until: deadline)) != nil { slot.alarm() }
            }
        }
        defer { alarm?.cancel() }
        return await slot.next()
    }

    /// The events that go out now.
    private func selected(_ events: [FeedEvent], _ progress: inout Progress) -> [FeedEvent] {
        let now = Timestamp.now
        var selected: [FeedEvent] = []
        selected.reserveCapacity(events.count)
        for event in events {
            if event.endsJob { progress.unended?.remove(event.job) }
            progress.seen = event.position
            guard types?.contains(event.type) ?? true else { continue }
            // The lag of events from before the stream would say nothing about its speed.
            if event.recordedAt > progress.opened {
                metrics.deliveryLag.record(
                    seconds: Double(now.microseconds - event.recordedAt.microseconds) / 1_000_000)
            }
            selected.append(event)
        }
        return progress.conflation?.take(selected, at: .now) ?? selected
    }

    private func send(_ events: [FeedEvent], _ progress: inout Progress, _ writer: inout any ResponseBodyWriter)
        async throws
    {
        var rest = events[...]
        while let first = rest.first {
            var buffer = ByteBuffer()
            buffer.reserveCapacity(min(Self.piece, rest.reduce(0) { $0 + $1.json.count + 40 }))
            Self.append(first, progress.epoch, to: &buffer)
            rest.removeFirst()
            while let next = rest.first, buffer.readableBytes + next.json.count < Self.piece {
                Self.append(next, progress.epoch, to: &buffer)
                rest.removeFirst()
            }
            try await writer.write(buffer)
            let last = events[rest.startIndex - 1].position
            (progress.sent, progress.lastWrite) = (Place(last, epoch: progress.epoch), .now)
        }
    }

    private static func append(_ event: FeedEvent, _ epoch: EpochDigits?, to buffer: inout ByteBuffer) {
        buffer.writeString("id: \(Place(event.position, epoch: epoch))\ndata: ")
        // A single line: the JSON of a CloudEvent has no line breaks.
        buffer.writeBytes(event.streamed)
        buffer.writeStaticString("\n\n")
    }
}
