import BlockingIO
import LedgerCore
package import Logging
package import Postgres

/// Work that any number of processes can do, and that one does at a time: the outer loop of a relay
/// and of a projector.
///
/// It connects, waits for the lease, works until the lease is lost, and waits again. After an
/// error, such as a failover, a lost connection or a rolled-back statement, it pauses and starts
/// again; it never ends for an error. When the task is cancelled, it releases the lease.
package struct LeasedWork: Sendable {
    private let lease: Lease
    private let configuration: PostgresConfiguration
    private let longestPause: Duration
    private let logger: Logger

    /// - Parameter longestPause: the longest pause between attempts after errors.
    package init(
        _ lease: Lease, on configuration: PostgresConfiguration, longestPause: Duration = .seconds(2), logger: Logger
    ) {
        self.lease = lease
        self.configuration = configuration
        self.longestPause = longestPause
        self.logger = logger
    }

    /// Runs until the task is cancelled. Meanwhile it looks for another leader, so that a server
    /// that was left behind is not worked on.
    /// - Parameters:
    ///   - connected: what to do on each new connection before waiting for the lease.
    ///   - work: what to do with the lease. It returns when the lease is lost. It calls the closure
    ///     it is given after each success, so that the pause after the next error is short again.
    package func run(
        connected: (PostgresConnection) async throws -> Void = { _ in },
        work: (PostgresConnection, _ succeeded: () -> Void) async throws -> Void
    ) async {
        async let _ = LeadingServer.keepLooking(with: configuration)
        var backoff = Backoff(longest: longestPause)
        while !Task.isCancelled {
            do {
                // Now and then the log says what cannot be reached.
                let connection = try await PostgresConnection.connect(configuration, timeout: .seconds(30))
                do {
                    try await connected(connection)
                    while true {
                        try await waitForLease(on: connection)
                        try await work(connection) { backoff.reset() }
                    }
                } catch {
                    await lease.giveUp(on: connection)
                    await connection.close()
                    throw error
                }
            } catch is CancellationError {
                return
            } catch let error as PostgresError where error.kind == .cancelled {
                return
            } catch {
                logger.warning("interrupted, trying again", metadata: ["error": "\(error)"])
                do { try await backoff.pause() } catch { return }
            }
        }
    }

    private func waitForLease(on connection: PostgresConnection) async throws {
        while try await !lease.take(on: connection) {
            try await Task.sleep(for: lease.times.retry)
        }
        logger.debug("at work")
    }
}
