package import BlockingIO

/// Keeps one connection to a Redis server, and opens a new one when it has broken.
///
/// A call during which the connection breaks fails with a retriable error. It is not repeated,
/// because only the caller knows whether executing it twice is harmless. A connection that turns
/// out to be dead before anything was written is replaced silently. After a failed attempt to
/// connect, calls fail at once with the same error until the backoff has passed, so that a dead
/// server costs callers nothing. ``connectWithRetries()`` waits instead.
package actor RedisClient {
    package nonisolated let configuration: RedisConfiguration
    private let executor = BlockingExecutor(label: "redis-client")
    /// Made by the first call: where no descriptor is left for it, that call fails, and a later one
    /// tries again.
    private var interrupt: Interrupt?
    private var connection: BlockingRedisConnection?
    private var watch: MasterWatch
    private var backoff: Backoff
    private var failure: (error: RedisError, until: ContinuousClock.Instant)?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Connects at the first call.
    package init(_ configuration: RedisConfiguration, backoff: Backoff = Backoff()) {
        self.configuration = configuration
        self.backoff = backoff
        watch = MasterWatch(configuration)
    }

    /// Like ``RedisConnection/send(_:within:)``, connecting first when there is no connection.
    package func send(_ commands: [RedisCommand], within limit: Duration? = nil) async throws(RedisError)
        -> [RedisValue]
    {
        let limit = limit ?? configuration.replyTimeout
        return try await cancellable(by: readyInterrupt()) { cancellation throws(RedisError) in
            try self.onConnection(cancellation) { connection throws(RedisError) in
                try connection.exchange(commands, within: limit, cancellation: cancellation)
            }
        }
    }

    /// Sends a whole pipeline and waits for all of its replies. The first error reply is thrown, as
    /// ``RedisError/Kind/server``, after all others have been read.
    package func send(_ pipeline: RedisPipeline, within limit: Duration? = nil) async throws(RedisError) {
        let limit = limit ?? configuration.replyTimeout
        let refusal = try await cancellable(by: readyInterrupt()) { cancellation throws(RedisError) in
            try self.onConnection(cancellation) { connection throws(RedisError) in
                try connection.exchange(pipeline, within: limit, cancellation: cancellation)
            }
        }
        if let refusal { throw refusal }
    }

    /// Sends one command and returns its reply; an error reply is thrown as
    /// ``RedisError/Kind/server``.
    @discardableResult
    package func command(
        _ arguments: any RedisArgument..., within limit: Duration? = nil
    ) async throws(RedisError) -> RedisValue {
        try await send([RedisCommand(arguments: arguments.map(\.redisBytes))], within: limit)[0].get()
    }

    /// Checks that the server answers.
    package func ping() async throws(RedisError) { try await command("PING") }

    /// Connects if there is no live connection, with as many attempts as it takes. It ends when the
    /// task is cancelled, or with an error that does not pass, such as a wrong password.
    package func connectWithRetries() async throws(RedisError) {
        while true {
            if let failure {
                do {
                    try await Task.sleep(until: failure.until)
                } catch {
                    throw RedisError(.cancelled, "while waiting to reconnect: \(failure.error)")
                }
            }
            do throws(RedisError) {
                return try await ping()
            } catch {
                guard error.isRetriable else { throw error }
            }
        }
    }

    /// Closes the connection after the earlier calls. A later call connects again.
    package func close() { connection = nil }

    /// Runs `exchange` on the present connection, or on a new one if that turns out to be dead
    /// before anything is written, or if the Sentinels name another master.
    private func onConnection<Value>(
        _ cancellation: Cancellation, _ exchange: (BlockingRedisConnection) throws(RedisError) -> Value
    ) throws(RedisError) -> Value {
        if let kept = connection,
            try !watch.hasMoved(from: kept, interrupt: readyInterrupt(), cancellation: cancellation)
        {
            do throws(RedisError) {
                return try exchange(kept)
            } catch {
                connection = nil
                guard error.kind == .connection, !error.outcomeUnknown else { throw error }
            }
        }
        do throws(RedisError) {
            return try exchange(try reconnect(cancellation))
        } catch {
            connection = nil
            throw error
        }
    }

    private func reconnect(_ cancellation: Cancellation) throws(RedisError) -> BlockingRedisConnection {
        let made = try attempt { () throws(RedisError) in
            try BlockingRedisConnection.open(
                configuration, interrupt: readyInterrupt(), cancellation: cancellation)
        }
        connection = made
        failure = nil
        backoff.reset()
        return made
    }

    private func readyInterrupt() throws(RedisError) -> Interrupt {
        if let interrupt { return interrupt }
        let made = try attempt { () throws(RedisError) in try Interrupt.make() }
        interrupt = made
        return made
    }

    /// Tries what connecting takes, unless the backoff of a failed attempt has not passed.
    private func attempt<Value>(_ body: () throws(RedisError) -> Value) throws(RedisError) -> Value {
        if let failure, failure.until > .now { throw failure.error }
        do throws(RedisError) {
            return try body()
        } catch {
            // A caller that gave up says nothing about the server.
            if error.kind != .cancelled { failure = (error, .now.advanced(by: backoff.advance())) }
            throw error
        }
    }
}
