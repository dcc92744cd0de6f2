internal import Hummingbird
internal import LedgerCore
internal import NIOCore
internal import Synchronization

/// One stream, from its first event to its end: what is in the log, then what comes.
///
/// It holds one page of frames while it catches up, and its mailbox when it is live; a client that reads slowly makes it wait, and when
/// the mailbox has overflowed meanwhile, it catches up again.
struct EventStream: Sendable {
    let hub: StreamHub
    let catchUp: CatchUp
    let metrics: Metrics
    let interest: StreamHub.Interest
    /// After which event it begins.
    let position: Position
    /// Of the jobs that are followed, those that have not ended by then; `nil` where all are.
    let unended: Set<String>?
    let conflation: Conflation?
    let heartbeat: Duration
    /// Whether the token still holds.
    let isAllowed: @Sendable () async throws -> Bool

    /// How long a browser waits before it comes back.
    private static let retry = ByteBuffer(string: "retry: 1000\n\n")
    private static let beat = ByteBuffer(string: ":\n\n")
    private static let stopping = ByteBuffer(string: "retry: 2000\n: the service is stopping\n\n")

    func run(until closed: EventLoopFuture<Void>, _ writer: inout any ResponseBodyWriter) async throws {
        let mailbox = Mailbox()
        closed.whenComplete { _ in mailbox.close() }
        let (number, joined) = hub.enter(mailbox, interest)
        metrics.subscribers.add(1, ordering: .relaxed)
        defer {
            hub.leave(number)
            metrics.subscribers.subtract(1, ordering: .relaxed)
        }
        var state = Writing(position: position, unended: unended, conflation: conflation)
        try await writer.write(Self.retry)
        if try await follow(mailbox, joined, &state, &writer) { try await writer.write(Self.stopping) }
        try await writer.finish(nil)
    }

    /// What has become of a stream so far.
    private struct Writing {
        var position: Position
        var unended: Set<String>?
        var conflation: Conflation?
        var lastWrite = ContinuousClock.now

        var hasEnded: Bool { unended?.isEmpty ?? false }
    }

    /// - Returns: whether it ended because the service stops.
    private func follow(
        _ mailbox: Mailbox, _ joined: Position, _ state: inout Writing, _ writer: inout any ResponseBodyWriter
    ) async throws -> Bool {
        try await read(upTo: joined, &state, &writer)
        while !state.hasEnded {
            switch await next(mailbox, state.conflation?.deadline) {
            case .frames(let frames):
                try await write(frames, &state, &writer, isLive: true)
            case .overflowed:
                try await read(upTo: hub.position, &state, &writer)
            case .tick:
                guard try await isAllowed() else { return false }
                if state.lastWrite.duration(to: .now) >= heartbeat {
                    try await writer.write(Self.beat)
                    state.lastWrite = .now
                }
            case .due:
                if let due = state.conflation?.take(at: .now) { try await send(due, &state, &writer) }
            case .ended: return true
            case .closed: return false
            }
        }
        return false
    }

    private enum Next {
        case frames([Frame])
        case overflowed, tick, due, ended, closed
    }

    /// The next delivery, or the moment at which what is held back should go out.
    private func next(_ mailbox: Mailbox, _ deadline: ContinuousClock.Instant?) async -> Next {
        let alarm = deadline.map { deadline in
            Task {
                // Cancelled when something came before: then nothing is due.
                if (try? await Task.sleep(until: deadline)) != nil { mailbox.alarm() }
            }
        }
        defer { alarm?.cancel() }
        return switch await mailbox.next() {
        case .frames(let frames): .frames(frames)
        case .overflowed: .overflowed
        case .alarm: .due
        case .tick: .tick
        case .ended: .ended
        case .closed: .closed
        }
    }

    private func read(upTo last: Position, _ state: inout Writing, _ writer: inout any ResponseBodyWriter) async throws {
        // What is held back was seen here already, and is not read again.
        var position = state.position
        while position < last, !state.hasEnded {
            let page = try await catchUp.frames(interest, after: position, upTo: last)
            try await write(page.frames, &state, &writer, isLive: false)
            position = page.position
            state.position = max(state.position, position)
        }
    }

    private func write(
        _ frames: [Frame], _ state: inout Writing, _ writer: inout any ResponseBodyWriter, isLive: Bool
    ) async throws {
        var fresh: [Frame] = []
        for frame in frames where frame.position > state.position {
            state.position = frame.position
            if frame.type.isEnd { state.unended?.remove(frame.job) }
            if interest.types?.contains(frame.type) ?? true { fresh.append(frame) }
        }
        guard !fresh.isEmpty else { return }
        if isLive {
            let now = Timestamp.now
            for frame in fresh {
                metrics.deliveryLag.record(seconds: Double(now.microseconds - frame.recordedAt.microseconds) / 1_000_000)
            }
        }
        let out = state.conflation?.take(fresh, at: .now) ?? fresh
        try await send(out, &state, &writer)
    }

    private func send(_ frames: [Frame], _ state: inout Writing, _ writer: inout any ResponseBodyWriter) async throws {
        guard !frames.isEmpty else { return }
        try await writer.write(contentsOf: frames.map(\.bytes))
        state.lastWrite = .now
    }
}
