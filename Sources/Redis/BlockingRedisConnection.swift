import BlockingIO

/// Runs exchanges on one ``HiredisConnection``: connecting, pipelines, and waits that end with a
/// reply, a cancellation or their limit.
///
/// Its methods block. After any error except ``RedisError/Kind/server`` it must be dropped, because
/// replies may be outstanding. Not `Sendable`: an actor on a `BlockingExecutor` owns it.
final class BlockingRedisConnection {
    private let hiredis: HiredisConnection
    private let interrupt: Interrupt
    let server: RedisConfiguration.Server

    /// Connects to a server, authenticates and selects the database. Where Sentinels may name the
    /// server, use ``open(_:interrupt:cancellation:)``.
    init(
        to server: RedisConfiguration.Server, _ configuration: RedisConfiguration, interrupt: Interrupt,
        cancellation: Cancellation
    ) throws(RedisError) {
        var configuration = configuration
        configuration.address = .server(server)
        if cancellation.isCancelled { throw RedisError(.cancelled, "before connecting to \(configuration)") }
        self.server = server
        do throws(RedisError) {
            hiredis = try HiredisConnection(connectingTo: server)
            self.interrupt = interrupt
            try wait(for: .writable, within: configuration.connectTimeout, cancellation: cancellation)
            if let fault = hiredis.connectFault() { throw fault }
            // Checked before a password is sent.
            if let peer = configuration.peer { try hiredis.requirePeer(peer) }
            let greeting = configuration.greeting
            let replies = try exchange(greeting, within: configuration.connectTimeout, cancellation: cancellation)
            for reply in replies { _ = try reply.get() }
        } catch {
            throw RedisError(error.kind, error.message + (error.kind == .server ? "" : " (\(configuration))"))
        }
    }

    /// Sends `commands` and reads their replies at the same time. A client that only writes would
    /// deadlock with a server that only writes too.
    /// - Parameter limit: the longest wait during which no byte moves.
    func exchange(
        _ commands: [RedisCommand], within limit: Duration, cancellation: Cancellation
    ) throws(RedisError) -> [RedisValue] {
        guard !commands.isEmpty else { return [] }
        try expectSilence()
        var outgoing = Outgoing(commands)
        var replies: [RedisValue] = []
        replies.reserveCapacity(commands.count)
        do throws(RedisError) {
            while true {
                while outgoing.expectsReply, let reply = try hiredis.nextReply() {
                    replies.append(reply)
                    outgoing.answer()
                }
                if replies.count == commands.count { return replies }
                if cancellation.isCancelled { throw RedisError(.cancelled, "while waiting for replies") }
                try outgoing.write(to: hiredis)
                try wait(for: outgoing.isWaiting ? .either : .readable, within: limit, cancellation: cancellation)
                try hiredis.fill()
            }
        } catch {
            throw error.afterSending(outgoing.hasSent)
        }
    }

    /// Sends a pipeline and reads its replies, of which only errors matter.
    /// - Returns: the first error among them.
    func exchange(
        _ pipeline: RedisPipeline, within limit: Duration, cancellation: Cancellation
    ) throws(RedisError) -> RedisError? {
        guard pipeline.count > 0 else { return nil }
        try expectSilence()
        var refusal: RedisError?
        var (written, answered) = (0, 0)
        do throws(RedisError) {
            while true {
                if cancellation.isCancelled { throw RedisError(.cancelled, "while waiting for replies") }
                if written < pipeline.size { written += try hiredis.write(pipeline.bytes[written...]) }
                // The server answers a few commands at a time. Once everything is written, we need
                // not wake for each few of them. The shortest reply, a number, has 4 bytes.
                if written == pipeline.size { hiredis.expect(bytes: min(4 * (pipeline.count - answered), 32 << 10)) }
                try wait(for: written < pipeline.size ? .either : .readable, within: limit, cancellation: cancellation)
                while answered < pipeline.count, try hiredis.fill() {
                    while answered < pipeline.count, let outcome = try hiredis.nextOutcome() {
                        answered += 1
                        if refusal == nil { refusal = outcome.error }
                    }
                }
                if answered == pipeline.count { break }
            }
            hiredis.expect(bytes: 1)
        } catch {
            throw error.afterSending(written > 0)
        }
        return refusal
    }

    /// Sends commands whose replies ``listen(until:cancellation:)`` returns.
    func post(_ commands: [RedisCommand], within limit: Duration, cancellation: Cancellation) throws(RedisError) {
        var outgoing = Outgoing(commands)
        try outgoing.write(to: hiredis)
        while outgoing.isWaiting {
            try wait(for: .writable, within: limit, cancellation: cancellation)
            try outgoing.write(to: hiredis)
        }
    }

    enum Listened {
        case push(Push)
        case silence
        /// The wait was interrupted, but not cancelled.
        case rung
    }

    /// The next message that the server pushes, if one arrives before the deadline.
    func listen(until deadline: ContinuousClock.Instant, cancellation: Cancellation) throws(RedisError) -> Listened {
        while true {
            // Messages that arrived while the consumer was busy count, even if the deadline has
            // passed.
            if let push = try arrived() { return .push(push) }
            if cancellation.isCancelled { throw RedisError(.cancelled, "while waiting for the server") }
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { return .silence }
            switch interrupt.wait(for: .readable, on: hiredis.descriptor, within: left) {
            case .ready: continue
            case .timedOut: return .silence
            case .interrupted:
                if !cancellation.isCancelled { return .rung }
            }
        }
    }

    /// Waits until this many bytes have arrived, or the time is over.
    func gather(bytes: Int, within limit: Duration, cancellation: Cancellation) throws(RedisError) {
        hiredis.expect(bytes: bytes)
        defer { hiredis.expect(bytes: 1) }
        _ = try isReady(.readable, within: limit, cancellation: cancellation)
    }

    /// The next push that has arrived already; `nil` if there is none.
    func arrived() throws(RedisError) -> Push? {
        if let push = try hiredis.nextPush() { return push }
        while try hiredis.fill() {
            if let push = try hiredis.nextPush() { return push }
        }
        return nil
    }

    /// Detects that a server has closed an idle connection, before a command is written and while
    /// that is still harmless.
    private func expectSilence() throws(RedisError) {
        try hiredis.fill()
        guard let stray = try hiredis.nextReply() else { return }
        _ = try stray.get()
        throw RedisError(.protocolViolation, "a reply without a command")
    }

    private func wait(
        for readiness: Interrupt.Readiness, within limit: Duration, cancellation: Cancellation
    ) throws(RedisError) {
        guard try isReady(readiness, within: limit, cancellation: cancellation) else {
            throw RedisError(.timedOut, "nothing moved for \(limit)")
        }
    }

    private func isReady(
        _ readiness: Interrupt.Readiness, within limit: Duration, cancellation: Cancellation
    ) throws(RedisError) -> Bool {
        let deadline = ContinuousClock.now.advanced(by: limit)
        while true {
            if cancellation.isCancelled { throw RedisError(.cancelled, "while waiting for the server") }
            // The interrupt may have been meant for an earlier call. Only the flag shows that this
            // one is cancelled.
            let left = max(.zero, ContinuousClock.now.duration(to: deadline))
            switch interrupt.wait(for: readiness, on: hiredis.descriptor, within: left) {
            case .ready: return true
            case .timedOut: return false
            case .interrupted: continue
            }
        }
    }
}
