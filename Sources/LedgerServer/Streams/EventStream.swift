import Feed
import Hummingbird
import LedgerCore
import NIOCore

/// One stream, from its first event to its end.
///
/// What it follows is a subscription of the process's feed, which has been spelled out already:
/// many streams send the same bytes. A client that reads slowly makes its stream wait, and its
/// subscription falls back to the log; it holds up nobody else.
struct EventStream: Sendable {
    let streams: OpenStreams
    let metrics: Metrics
    let subscription: Subscription
    /// Which events are sent; the subscription has the ends of jobs too. `nil` for all.
    let types: Set<EventType>?
    /// Of the jobs that are followed, those that have not ended yet; `nil` where all are.
    let unended: Set<JobID>?
    let conflation: Conflation?
    let heartbeat: Duration
    /// Whether the token still holds.
    let isAllowed: @Sendable () async throws -> Bool

    static let mediaType = "text/event-stream"
    private static let beginning = ByteBuffer(string: "retry: 1000\n\n")
    private static let beat = ByteBuffer(string: ":\n\n")
    private static let stopping = ByteBuffer(string: "retry: 2000\n: the service is stopping\n\n")
    /// About how many bytes are written at a time: what is written next waits until the client
    /// reads.
    private static let piece = 64 << 10

    func run(until closed: EventLoopFuture<Void>, _ writer: inout any ResponseBodyWriter) async throws {
        let slot = StreamSlot()
        closed.whenComplete { _ in slot.close() }
        let number = streams.enter(slot)
        defer { streams.leave(number) }
        try await writer.write(Self.beginning)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await Self.pump(subscription, into: slot) }
            defer {
                slot.close()
                group.cancelAll()
            }
            try await write(slot, &writer)
        }
        try await writer.finish(nil)
    }

    /// Takes events from the subscription as the stream takes them from the slot.
    private static func pump(_ subscription: Subscription, into slot: StreamSlot) async {
        do {
            var events = subscription.makeAsyncIterator()
            while let batch = try await events.nextBatch() { await slot.put(batch) }
            slot.end(.ended)
        } catch is FeedStopped, is AnotherEpoch {
            slot.end(.stopped)
        } catch {
            slot.end(.failed(error))
        }
    }

    /// What has become of the stream so far.
    private struct Progress {
        var unended: Set<JobID>?
        var conflation: Conflation?
        /// The last event that has come, and the last that the client knows of.
        var seen: Position = 0
        var sent: Position = 0
        var lastWrite = ContinuousClock.now
        let opened = Timestamp.now
    }

    private enum End {
        /// Nothing follows.
        case complete
        /// The client is to come again.
        case stopped
        /// There is nobody, or nobody who may know more.
        case closed
    }

    private func write(_ slot: StreamSlot, _ writer: inout any ResponseBodyWriter) async throws {
        var progress = Progress(unended: unended, conflation: conflation)
        let end = try await follow(slot, &progress, &writer)
        guard end != .closed else { return }
        // What was held back is not lost.
        try await send(progress.conflation?.release() ?? [], &progress, &writer)
        if end == .stopped { return try await writer.write(Self.stopping) }
        // Who did not ask for the end's type has come to it too: a message without data tells no
        // more than that, and a browser that comes again with its id is told that there is nothing
        // more.
        if progress.seen > progress.sent { try await writer.write(ByteBuffer(string: "id: \(progress.seen)\n\n")) }
    }

    private func follow(
        _ slot: StreamSlot, _ progress: inout Progress, _ writer: inout any ResponseBodyWriter
    ) async throws -> End {
        while progress.unended?.isEmpty != true {
            switch await next(slot, progress.conflation?.deadline) {
            case .events(let events): try await send(selected(events, &progress), &progress, &writer)
            case .alarm: try await send(progress.conflation?.take(at: .now) ?? [], &progress, &writer)
            case .tick:
                guard try await isAllowed() else { return .closed }
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

    /// The next thing that happens, or the moment at which what is held back should go out.
    private func next(_ slot: StreamSlot, _ deadline: ContinuousClock.Instant?) async -> StreamSlot.Item {
        let alarm = deadline.map { deadline in
            Task {
                // Cancelled when something happened before: then nothing is due.
                if (try? await Task.sleep(until: deadline)) != nil { slot.alarm() }
            }
        }
        defer { alarm?.cancel() }
        return await slot.next()
    }

    /// What goes out now.
    private func selected(_ events: [FeedEvent], _ progress: inout Progress) -> [FeedEvent] {
        let now = Timestamp.now
        var selected: [FeedEvent] = []
        selected.reserveCapacity(events.count)
        for event in events {
            if event.type.isEnd { progress.unended?.remove(event.job) }
            progress.seen = event.position
            guard types?.contains(event.type) ?? true else { continue }
            // What was there before the stream was says nothing of how fast it is.
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
            Self.append(first, to: &buffer)
            rest.removeFirst()
            while let next = rest.first, buffer.readableBytes + next.json.count < Self.piece {
                Self.append(next, to: &buffer)
                rest.removeFirst()
            }
            try await writer.write(buffer)
            (progress.sent, progress.lastWrite) = (events[rest.startIndex - 1].position, .now)
        }
    }

    private static func append(_ event: FeedEvent, to buffer: inout ByteBuffer) {
        buffer.writeString("id: \(event.position)\ndata: ")
        // One line: a CloudEvent has no line breaks.
        buffer.writeBytes(event.streamed)
        buffer.writeStaticString("\n\n")
    }
}
