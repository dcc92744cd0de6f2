import BlockingIO

/// One connection to a Redis server, or to the master that Sentinels name when it connects. It
/// occupies a thread of its own while a call waits.
///
/// Calls run one after another. A call that is cancelled, times out or finds the connection broken
/// closes it, because replies may be outstanding; every later call fails with
/// ``RedisError/Kind/connection``. ``RedisClient`` reconnects.
package actor RedisConnection {
    package nonisolated let configuration: RedisConfiguration
    private let executor = BlockingExecutor(label: "redis")
    private let interrupt: Interrupt
    private var connection: BlockingRedisConnection?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private init(_ configuration: RedisConfiguration) throws(RedisError) {
        self.configuration = configuration
        interrupt = try .make()
    }

    /// Connects, authenticates and selects the database, within the configuration's
    /// `connectTimeout` for each step.
    package static func connect(_ configuration: RedisConfiguration) async throws(RedisError) -> RedisConnection {
        let connection = try RedisConnection(configuration)
        try await connection.open()
        return connection
    }

    package var isOpen: Bool { connection != nil }

    /// Sends all `commands` in one pipeline and returns their replies in order. Any number may be
    /// sent: at most about 1 MiB is in flight. An error reply takes the place of its command's
    /// reply and does not affect the others.
    /// - Parameter limit: the longest wait during which no byte moves; `nil` is the configuration's
    ///   `replyTimeout`. A blocking command such as `BLPOP` needs a longer limit than its own.
    package func send(_ commands: [RedisCommand], within limit: Duration? = nil) async throws(RedisError)
        -> [RedisValue]
    {
        let limit = limit ?? configuration.replyTimeout
        return try await cancellable(by: interrupt) { cancellation throws(RedisError) in
            guard let connection = self.connection else { throw RedisError(.connection, "closed") }
            do throws(RedisError) {
                return try connection.exchange(commands, within: limit, cancellation: cancellation)
            } catch {
                self.connection = nil
                throw error
            }
        }
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

    /// Closes the connection after the earlier calls.
    package func close() { connection = nil }

    private func open() async throws(RedisError) {
        connection = try await cancellable(by: interrupt) { cancellation throws(RedisError) in
            try BlockingRedisConnection.open(
                self.configuration, interrupt: self.interrupt, cancellation: cancellation)
        }
    }
}
