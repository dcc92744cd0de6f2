import OffPool

/// The connection behind one iterator of a ``RedisSubscription``.
actor SubscriptionLine {
    private let wanted: RedisSubscription
    private let executor = BlockingExecutor(label: "redis-subscription")
    private let interrupt = Interrupt()
    private var session: Session?
    private var backoff: Backoff
    private var mustPause = false
    /// Acknowledgements that have not come, and when they are late.
    private var awaited = 0
    private var joinDeadline = ContinuousClock.now

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ wanted: RedisSubscription) {
        self.wanted = wanted
        backoff = wanted.backoff
    }

    func next() async -> RedisSubscription.Item? {
        do throws(RedisError) {
            return try await cancellable(by: interrupt) { cancellation throws(RedisError) in
                // Not `??`: it forgets the type of the error.
                let session = if let kept = self.session { kept } else { try self.join(cancellation) }
                return try self.listen(on: session, cancellation)
            }
        } catch {
            session = nil
            if error.kind == .cancelled { return nil }
            mustPause = true
            return .lost(error)
        }
    }

    private func join(_ cancellation: Cancellation) throws(RedisError) -> Session {
        if mustPause { try pause(cancellation) }
        let made = try Session(wanted.configuration, interrupt: interrupt, cancellation: cancellation)
        var commands: [RedisCommand] = []
        for (name, topics) in [("SUBSCRIBE", wanted.channels), ("PSUBSCRIBE", wanted.patterns)] where !topics.isEmpty {
            commands.append(RedisCommand(arguments: ([name] + topics).map { Array($0.utf8) }))
        }
        let limit = wanted.configuration.replyTimeout
        try made.post(commands, within: limit, cancellation: cancellation)
        awaited = wanted.channels.count + wanted.patterns.count
        joinDeadline = .now.advanced(by: limit)
        session = made
        return made
    }

    /// Waits out the backoff on this actor's own thread, so that no other call comes between.
    private func pause(_ cancellation: Cancellation) throws(RedisError) {
        let deadline = ContinuousClock.now.advanced(by: backoff.advance())
        while ContinuousClock.now < deadline {
            if cancellation.isCancelled { throw RedisError(.cancelled, "while waiting to reconnect") }
            // poll(2) ignores a negative descriptor: only the bell and the clock end this wait.
            _ = interrupt.wait(for: .readable, on: -1, within: ContinuousClock.now.duration(to: deadline))
        }
    }

    private func listen(
        on session: Session, _ cancellation: Cancellation
    ) throws(RedisError) -> RedisSubscription.Item {
        var isAsking = false
        while true {
            let limit =
                if awaited > 0 {
                    max(.zero, ContinuousClock.now.duration(to: joinDeadline))
                } else if isAsking { wanted.configuration.replyTimeout } else { wanted.silence }
            if let value = try session.listen(within: limit, cancellation: cancellation) {
                isAsking = false
                if let item = try item(value) { return item }
            } else if isAsking || awaited > 0 {
                throw RedisError(.timedOut, "no sign of life for \(limit) on a subscription")
            } else {
                try session.post([RedisCommand("PING")], within: limit, cancellation: cancellation)
                isAsking = true
            }
        }
    }

    private func item(_ value: RedisValue) throws(RedisError) -> RedisSubscription.Item? {
        let parts = try value.get().array ?? []
        switch (parts.first?.string, parts.count) {
        case ("message", 3):
            return .message(channel: parts[1].string ?? "", pattern: nil, payload: parts[2].bytes ?? [])
        case ("pmessage", 4):
            return .message(channel: parts[2].string ?? "", pattern: parts[1].string, payload: parts[3].bytes ?? [])
        case ("subscribe", 3), ("psubscribe", 3):
            awaited -= 1
            guard awaited == 0 else { return nil }
            backoff.reset()
            return .joined
        case ("pong", 2): return nil
        default: throw RedisError(.protocolViolation, "not a message: \(value)")
        }
    }
}
