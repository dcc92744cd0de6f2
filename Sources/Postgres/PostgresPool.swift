import BlockingIO

/// A bounded set of connections. They are opened when they are needed, and each serves one user at
/// a time, first come first served.
package actor PostgresPool {
    package nonisolated let configuration: PostgresConfiguration
    package nonisolated let size: Int
    private let longestQueue: Int
    private let timeout: Duration

    private var idle: [PostgresConnection] = []
    /// Connections that are in use or being opened.
    private var busy = 0
    private(set) var waiters: [(ticket: Int, continuation: CheckedContinuation<PostgresConnection?, any Error>)] = []
    private var lastTicket = 0
    private var isClosed = false

    /// - Parameters:
    ///   - size: the most connections at once.
    ///   - longestQueue: how many users may wait for a connection; further ones are refused at once
    ///     with an error of kind `busy`.
    ///   - timeout: how long to try to reach a server that is away.
    package init(
        _ configuration: PostgresConfiguration, size: Int = 8, longestQueue: Int = 10_000,
        timeout: Duration = .seconds(10)
    ) {
        precondition(size > 0)
        self.configuration = configuration
        self.size = size
        self.longestQueue = longestQueue
        self.timeout = timeout
    }

    /// Runs `body` with a connection. A connection is closed and not reused if it breaks, is left
    /// inside a transaction, or returned an error that spoils its session
    /// (``SQLState/spoilsSession``).
    package nonisolated(nonsending) func withConnection<T: Sendable>(
        _ body: (PostgresConnection) async throws -> T
    ) async throws -> T {
        let connection = try await borrow()
        do {
            let result = try await body(connection)
            await giveBack(connection)
            return result
        } catch {
            await giveBack(connection)
            throw error
        }
    }

    /// Closes idle connections now, and connections in use when they come back.
    package func close() async {
        isClosed = true
        for waiter in waiters { waiter.continuation.resume(throwing: PostgresError(.closed, "the pool is closed")) }
        waiters = []
        for connection in idle { await connection.close() }
        idle = []
    }

    private func borrow() async throws -> PostgresConnection {
        try Task.checkCancellation()
        guard !isClosed else { throw PostgresError(.closed, "the pool is closed") }
        if let connection = idle.popLast() {
            busy += 1
            if await connection.isUsable() { return connection }
            await connection.close()
        } else if busy < size {
            busy += 1
        } else if let connection = try await wait() {
            return connection
        }
        // A place is reserved now: it counts as busy.
        do {
            try Task.checkCancellation()
            guard !isClosed else { throw PostgresError(.closed, "the pool is closed") }
            return try await PostgresConnection.connect(configuration, timeout: timeout)
        } catch {
            release()
            throw error
        }
    }

    private func giveBack(_ connection: PostgresConnection) async {
        let isAtRest = await connection.isAtRest()
        if !isAtRest || isClosed {
            await connection.close()
            release()
        } else if !waiters.isEmpty {
            // Passed to the next waiter: it stays busy.
            waiters.removeFirst().continuation.resume(returning: connection)
        } else {
            busy -= 1
            idle.append(connection)
        }
    }

    /// Releases a place. The first waiter gets it, still counted as busy, so that a newcomer cannot
    /// take it.
    private func release() {
        if waiters.isEmpty {
            busy -= 1
        } else {
            waiters.removeFirst().continuation.resume(returning: nil)
        }
    }

    /// Waits for a connection, or for a place to make one (`nil`). Either counts as busy.
    private func wait() async throws -> PostgresConnection? {
        guard waiters.count < longestQueue else {
            throw PostgresError(.busy, "\(waiters.count) tasks are waiting for a connection already")
        }
        lastTicket += 1
        let ticket = lastTicket
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                if Task.isCancelled {
                    continuation.resume(throwing: CancellationError())
                } else {
                    waiters.append((ticket, continuation))
                }
            }
        } onCancel: {
            Task { await self.giveUp(ticket) }
        }
    }

    private func giveUp(_ ticket: Int) {
        guard let index = waiters.firstIndex(where: { $0.ticket == ticket }) else { return }
        waiters.remove(at: index).continuation.resume(throwing: CancellationError())
    }
}
