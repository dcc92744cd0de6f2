package import Logging
package import Postgres

/// Looks who holds the log, says so when it takes long, and ends it where it is told to.
package struct LogLockWatch: Sendable {
    /// When a holder is ended; `nil` for never.
    private let limit: Duration?
    private let logger: Logger
    /// The holder of the last looks, and when it was seen first.
    private var seen: (transaction: String, since: ContinuousClock.Instant)?
    private var hasTold = false
    private var hasTried = false

    /// - Parameter limit: for how long a session may hold the log before it is ended, 5 s at least;
    ///   `nil` only reports.
    package init(endingAfter limit: Duration?, logger: Logger) {
        self.limit = limit
        self.logger = logger
    }

    /// One look. What the ledger or the server refuses is logged, once a holder: who publishes is
    /// not to stop for it.
    package mutating func look(on connection: PostgresConnection) async throws {
        let holder = try LogLockHolder(try await connection.query(LogLockHolder.statement))
        guard let holder, holder.transaction == seen?.transaction else {
            if hasTold { logger.notice("the log is free again") }
            seen = holder.map { ($0.transaction, .now) }
            (hasTold, hasTried) = (false, false)
            return
        }
        // What was seen counts, and how long others wait; a transaction may be older than its hold
        // on the log.
        let held = max(holder.longestWait ?? .zero, seen?.since.duration(to: .now) ?? .zero)
        if held >= LogLockHolder.notable, !hasTold {
            hasTold = true
            logger.warning(
                "the log is held: all appenders wait",
                metadata: ["by": "\(holder.name)", "waiting": "\(holder.waiting)"])
        }
        if let limit, held >= limit, !hasTried { try await end(holder, on: connection) }
    }

    private mutating func end(_ holder: LogLockHolder, on connection: PostgresConnection) async throws {
        do {
            guard try await connection.query("SELECT end_log_holder($1)", holder.transaction).only().decode(0) else {
                return
            }
            logger.warning("ended who held the log", metadata: ["by": "\(holder.name)"])
        } catch let error as PostgresError where error.kind == .server && !error.isRetriable {
            logger.error("who holds the log cannot be ended", metadata: ["error": "\(error)"])
        }
        hasTried = true
    }
}
