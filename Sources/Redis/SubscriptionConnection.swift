import BlockingIO
import Texts

/// The connection behind one iterator of a ``RedisSubscription``.
actor SubscriptionConnection {
    private let wanted: RedisSubscription
    private let executor = BlockingExecutor(label: "redis-subscription")
    /// Made by the first call, or by a later one where no descriptor was left for it.
    private var interrupt: Interrupt?
    private var connection: BlockingRedisConnection?
    private var watch: MasterWatch
    private var backoff: Backoff
    private var mustPause = false
    /// An error that occurred after items that must be returned first.
    private var fault: RedisError?
    /// Whether messages arrive so fast that it pays to read many at once.
    private var isFlooded = false
    /// How many bytes of messages are read ahead.
    private static let longestRead = 256 << 10
    /// How many bytes make a flood of messages. In a flood, a read waits for this many, but no
    /// longer than a flood takes to bring them.
    private static let flood = 32 << 10
    private static let floodTimeout = Duration.milliseconds(1)
    /// The names that the server was told on this connection, and the number of the last change
    /// among them.
    private var posted = RedisTopics.Names()
    private var changes: Int?
    /// The number of missing acknowledgements, and when they are late.
    private var awaited = 0
    private var joinDeadline = ContinuousClock.now

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ wanted: RedisSubscription) {
        self.wanted = wanted
        backoff = wanted.backoff
        watch = MasterWatch(wanted.configuration)
    }

    deinit { if let interrupt { wanted.topics.detach(interrupt) } }

    /// The next items: at least one, and those that have arrived with it, up to about
    /// ``longestRead`` bytes. Switching from task to thread and back costs more than many messages.
    /// Empty when the task is cancelled.
    func next() async -> [RedisSubscription.Item] {
        do throws(RedisError) {
            let interrupt = try await readyInterrupt()
            return try await cancellable(by: interrupt) { cancellation throws(RedisError) in
                // `??` would lose the type of the error.
                let connection = if let kept = self.connection { kept } else { try self.join(interrupt, cancellation) }
                if self.isFlooded {
                    try connection.gather(bytes: Self.flood, within: Self.floodTimeout, cancellation: cancellation)
                }
                let first = try self.listen(on: connection, interrupt, cancellation)
                return self.more(on: connection, after: first)
            }
        } catch {
            connection = nil
            if error.kind == .cancelled { return [] }
            mustPause = true
            return [.lost(error)]
        }
    }

    func each(_ body: @Sendable (RedisSubscription.Item) -> Void) async {
        while true {
            let items = await next()
            if items.isEmpty { return }
            for item in items { body(item) }
        }
    }

    /// An item and those that have arrived after it. The next call reports an error that occurs
    /// meanwhile.
    private func more(on connection: BlockingRedisConnection, after first: RedisSubscription.Item) -> [RedisSubscription
        .Item]
    {
        var items = [first]
        var size = first.size
        do throws(RedisError) {
            while size < Self.longestRead, let push = try connection.arrived() {
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

    private func join(
        _ interrupt: Interrupt, _ cancellation: Cancellation
    ) throws(RedisError) -> BlockingRedisConnection {
        if mustPause { try pause(interrupt, cancellation) }
        let made = try BlockingRedisConnection.open(
            wanted.configuration, interrupt: interrupt, cancellation: cancellation)
        (posted, changes, awaited) = (RedisTopics.Names(), nil, 0)
        try post(on: made, cancellation)
        connection = made
        return made
    }

    /// Sends the changes to the server, new names first, so that nothing is missed of a name that
    /// is wanted before and after.
    private func post(on connection: BlockingRedisConnection, _ cancellation: Cancellation) throws(RedisError) {
        guard let (names, changes) = wanted.topics.changed(since: changes) else { return }
        let added = (names.channels.subtracting(posted.channels), names.patterns.subtracting(posted.patterns))
        let removed = (posted.channels.subtracting(names.channels), posted.patterns.subtracting(names.patterns))
        let commands = [
            ("SUBSCRIBE", added.0), ("PSUBSCRIBE", added.1), ("UNSUBSCRIBE", removed.0), ("PUNSUBSCRIBE", removed.1),
        ]
        .filter { !$0.1.isEmpty }
        .map { name, topics in RedisCommand(arguments: ([ExactText(name)] + topics.sorted()).map { Array($0.utf8) }) }
        let limit = wanted.configuration.replyTimeout
        try connection.post(commands, within: limit, cancellation: cancellation)
        (posted, self.changes) = (names, changes)
        let count = added.0.count + added.1.count
        guard count > 0 else { return }
        awaited += count
        joinDeadline = .now.advanced(by: limit)
    }

    /// The interrupt of this connection's waits: it fires on cancellation, and when the topics
    /// change.
    private func readyInterrupt() async throws(RedisError) -> Interrupt {
        if let interrupt { return interrupt }
        if mustPause {
            do {
                try await Task.sleep(for: backoff.advance())
            } catch {
                throw RedisError(.cancelled, "while waiting for a free descriptor")
            }
        }
        let made = try Interrupt.make()
        mustPause = false
        wanted.topics.attach(made)
        interrupt = made
        return made
    }

    /// Waits for the backoff on this actor's own thread, so that no other call runs in between.
    private func pause(_ interrupt: Interrupt, _ cancellation: Cancellation) throws(RedisError) {
        let deadline = ContinuousClock.now.advanced(by: backoff.advance())
        while ContinuousClock.now < deadline {
            if cancellation.isCancelled { throw RedisError(.cancelled, "while waiting to reconnect") }
            // poll(2) ignores a negative descriptor: only an interrupt and the clock end this wait.
            _ = interrupt.wait(for: .readable, on: -1, within: ContinuousClock.now.duration(to: deadline))
        }
    }

    private func listen(
        on connection: BlockingRedisConnection, _ interrupt: Interrupt, _ cancellation: Cancellation
    ) throws(RedisError) -> RedisSubscription.Item {
        if let error = fault {
            fault = nil
            throw error
        }
        var isAsking = false
        var quietSince = ContinuousClock.now
        while true {
            if try watch.hasMoved(from: connection, interrupt: interrupt, cancellation: cancellation) {
                throw RedisError(.connection, "the Sentinels name another master")
            }
            try post(on: connection, cancellation)
            let timeout = isAsking ? wanted.configuration.replyTimeout : wanted.silence
            let deadline = awaited > 0 ? joinDeadline : quietSince.advanced(by: timeout)
            let pause = watch.isNeeded ? min(deadline, watch.nextLook) : deadline
            switch try connection.listen(until: pause, cancellation: cancellation) {
            case .push(let push):
                (isAsking, quietSince) = (false, .now)
                if let item = try item(push) { return item }
            // The topics may have changed.
            case .rung: continue
            case .silence where pause < deadline: continue
            case .silence where isAsking || awaited > 0:
                throw RedisError(
                    .timedOut,
                    "nothing arrived for \(awaited > 0 ? wanted.configuration.replyTimeout : timeout) on a subscription"
                )
            case .silence:
                try connection.post([RedisCommand("PING")], within: timeout, cancellation: cancellation)
                (isAsking, quietSince) = (true, .now)
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
        // The reply to PING while nothing is subscribed to.
        if value == .simpleString("PONG") { return nil }
        let parts = try value.get().array ?? []
        switch (parts.first?.string, parts.count) {
        case ("subscribe", 3), ("psubscribe", 3):
            awaited -= 1
            guard awaited == 0 else { return nil }
            backoff.reset()
            return .joined
        case ("unsubscribe", 3), ("punsubscribe", 3), ("pong", 2): return nil
        default: throw RedisError(.protocolViolation, "not a message: \(value)")
        }
    }
}

extension RedisSubscription.Item {
    /// Its approximate size in memory, in bytes.
    fileprivate var size: Int {
        if case .message(_, _, let payload) = self { payload.count + 100 } else { 100 }
    }
}
