import LedgerCore
import Postgres

/// What rebuilds and verifications of one projection exclude each other by. The locks are the
/// session's: they end with it.
enum ReplayLock {
    /// One rebuild, undoing or dropping at a time.
    static func rebuild(_ projection: String, _ ledger: LedgerName) -> String { rebuildPrefix(ledger) + projection }
    static func rebuildPrefix(_ ledger: LedgerName) -> String { "jobledger rebuild \(ledger)." }
    /// A verification has a snapshot that could not see what is in new tables: no swap while it
    /// runs.
    static func swap(_ projection: String, _ ledger: LedgerName) -> String { "jobledger swap \(ledger).\(projection)" }

    /// A process that was killed lets go once the server has noticed, which it looks for every half
    /// second.
    private static let timeout = Duration.seconds(2)

    /// Runs `body` with the lock; throws ``Rebuild/Busy`` where others keep it.
    static func withLock<T: Sendable>(
        _ key: String, of projection: String, shared: Bool = false, timeout: Duration = timeout,
        on connection: PostgresConnection, _ body: () async throws -> T
    ) async throws -> T {
        let kind = shared ? "_shared" : ""
        let deadline = ContinuousClock.now.advanced(by: timeout)
        while try await !connection.query("SELECT pg_try_advisory_lock\(kind)(hashtextextended($1, 0))", key).only()
            .decode(
                0, as: Bool.self)
        {
            guard ContinuousClock.now < deadline else { throw Rebuild.Busy(projection: projection) }
            try await Task.sleep(for: .milliseconds(100))
        }
        do {
            let result = try await body()
            try await connection.query("SELECT pg_advisory_unlock\(kind)(hashtextextended($1, 0))", key)
            return result
        } catch {
            // Also in a cancelled task. The lock ends with the session where it cannot be given
            // back.
            await Task {
                if await connection.isUsable() {
                    _ = try? await connection.query("SELECT pg_advisory_unlock\(kind)(hashtextextended($1, 0))", key)
                }
            }.value
            throw error
        }
    }
}
