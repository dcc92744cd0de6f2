package import Logging
package import Postgres

/// Watches who holds the log lock. It reports a long hold, and ends the holder if a limit is set.
package struct LogLockWatch: Sendable {
    /// After how long a holder is ended; `nil` for never.
    private let limit: Duration?
    private let logger: Logger
    /// The last holder, and when it was seen first.
    private var seen: (transaction: String, since: ContinuousClock.Instant)?
    private var hasReported = false
    private var hasTriedToEnd = false

    /// - Parameter limit: how long a session may hold the log before it is ended, at least 5 s;
    ///   `nil` only reports.
    package init(endingAfter limit: Duration?, logger: Logger) {
        self.limit = limit
        self.logger = logger
    }

    /// Looks once. An error from the ledger or the server is logged, once per holder, and not
    /// thrown, so that the caller keeps publishing.
    package mutating func look(on connection: PostgresConnection) async throws {
        let holder = try LogLockHolder(try await connection.query(LogLockHolder.statement))
        guard let holder, holder.transaction == seen?.transaction else {
            if hasReported { logger.notice("the log is free again") }
            seen = holder.map { ($0.transaction, .now) }
            (hasReported, hasTriedToEnd) = (false, false)
            return
        }
        // A transaction may be older than its hold on the log. So the hold is measured by our own
        // observation and by how long others have waited.
        let held = max(holder.longestWait ?? .zero, seen?.since.duration(to: .now) ?? .zero)
        if held >= LogLockHolder.notable, !hasReported {
            hasReported = true
            logger.warning(
                "the log is held: all appenders wait",
                metadata: ["by": "\(holder.name)", "waiting": "\(holder.waiting)"])
        }
        if let limit, held >= limit, !hasTriedToEnd { try await end(holder, on: connection) }
    }

    private mutating func end(_ holder: LogLockHolder, on connection: PostgresConnection) async throws {
        do {
            guard try await connection.query("SELECT end_log_holder($1)", holder.transaction).only().decode(0) else {
                return
            }
            logger.warning("ended the session that held the log", metadata: ["by": "\(holder.name)"])
        } catch let error as PostgresError where error.kind == .server && !error.isRetriable {
            logger.error("the session that holds the log cannot be ended", metadata: ["error": "\(error)"])
        }
        hasTriedToEnd = true
    }
}
