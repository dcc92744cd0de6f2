import BlockingIO

/// Times for how long this process has seen the same transaction hold the log. The ledger's owner
/// may not see since when a transaction is open, unless it has `pg_read_all_stats`; which one holds
/// the log, all may see.
package final class LogLockTimer: Sendable {
    private struct Seen {
        var transaction: String
        var since: ContinuousClock.Instant
    }

    private let seen = Locked<Seen?>(nil)

    package init() {}

    /// Takes note of who holds the log now.
    /// - Returns: the holder, with the time for which it was seen.
    @discardableResult
    package func note(_ holder: LogLockHolder?, at now: ContinuousClock.Instant = .now) -> LogLockHolder? {
        seen.withLock { seen in
            guard var holder else {
                seen = nil
                return nil
            }
            if let seen, seen.transaction == holder.transaction {
                holder.seenFor = seen.since.duration(to: now)
            } else {
                seen = Seen(transaction: holder.transaction, since: now)
            }
            return holder
        }
    }
}
