import OffPool

/// The connection behind one iterator of a ``RedisSubscription``.
actor SubscriptionLine {
    private let wanted: RedisSubscription
    private let executor = BlockingExecutor(label: "redis-subscription")
    private let interrupt = Interrupt()
    private var session: Session?
    private var backoff: Backoff
    private var mustPause = false
    /// An error that was found behind items that had to be given first.
    private var fault: RedisError?
    /// Whether the messages come so fast that it pays to take many at once.
    private var isFlooded = false
    /// Bytes of messages that are read ahead of use.
    private static let longestRead = 256 << 10
    /// What makes a flood of messages, and then is waited for, but no longer than a flood takes to bring it.
    private static let flood = 32 << 10
    private static let floodPatience = Duration.milliseconds(1)
    /// Acknowledgements that have not come, and when they are late.
    private var awaited = 0
    private var joinDeadline = ContinuousClock.now

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ wanted: RedisSubscription) {
        self.wanted = wanted
        backoff = wanted.backoff
    }

    /// The next items: one at least, and what else has arrived with it, about ``longestRead`` bytes at most. The way from task to
    /// thread and back costs more than many messages. Empty when the task is cancelled.
    func next() async -> [RedisSubscription.Item] {
        do throws(RedisError) {
            return try await cancellable(by: interrupt) { cancellation throws(RedisError) in
                // Not `??`: it forgets the type of the error.
                let session = if let kept = self.session { kept } else { try self.join(cancellation) }
                if self.isFlooded {
                    try session.gather(bytes: Self.flood, within: Self.floodPatience, cancellation: cancellation)
                }
                let first = try self.listen(on: session, cancellation)
                return self.more(on: session, after: first)
            }
        } catch {
            session = nil
            if error.kind == .cancelled { return [] }
            mustPause = true
            return [.lost(error)]
        }
    }

    /// An item and what has arrived behind it. What goes wrong meanwhile is told by the next call.
    private func more(on session: Session, after first: RedisSubscription.Item) -> [RedisSubscription.Item] {
        var items = [first]
        var size = first.size
        do throws(RedisError) {
            while size < Self.longestRead, let push = try session.arrived() {
                guard let item = try item(push) else { continue }
                size += item.size
                items.append(item)
            }
        } catch {
            fault = error
        }
        isFlooded = size >= Self.flood / 2
        return items
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
        if let error = fault {
            fault = nil
            throw error
        }
        var isAsking = false
        while true {
            let limit =
                if awaited > 0 {
                    max(.zero, ContinuousClock.now.duration(to: joinDeadline))
                } else if isAsking { wanted.configuration.replyTimeout } else { wanted.silence }
            if let push = try session.listen(within: limit, cancellation: cancellation) {
                isAsking = false
                if let item = try item(push) { return item }
            } else if isAsking || awaited > 0 {
                throw RedisError(.timedOut, "no sign of life for \(limit) on a subscription")
            } else {
                try session.post([RedisCommand("PING")], within: limit, cancellation: cancellation)
                isAsking = true
            }
        }
    }

    private func item(_ push: Push) throws(RedisError) -> RedisSubscription.Item? {
        let value: RedisValue
        switch push {
        case .message(let channel, let pattern, let payload):
            return .message(channel: channel, pattern: pattern, payload: payload)
        case .other(let other): value = other
        }
        let parts = try value.get().array ?? []
        switch (parts.first?.string, parts.count) {
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

extension RedisSubscription.Item {
    /// What it holds in memory, roughly, in bytes.
    fileprivate var size: Int {
        if case .message(_, _, let payload) = self { payload.count + 100 } else { 100 }
    }
}
