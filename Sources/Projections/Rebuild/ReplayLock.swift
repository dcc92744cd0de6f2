import LedgerCore
import Postgres

/// Advisory locks by which rebuilds and verifications of one projection exclude each other. They
/// belong to the session and end with it.
enum ReplayLock {
    /// Held by a rebuild, an undo, or a drop of replaced tables: one at a time.
    static func rebuild(_ projection: String, _ ledger: LedgerName) -> String { rebuildPrefix(ledger) + projection }
    static func rebuildPrefix(_ ledger: LedgerName) -> String { "jobledger rebuild \(ledger)." }
    /// Held by a swap, and shared by verifications. The snapshot of a verification could not see
    /// the rows of new tables, so no swap may happen meanwhile.
    static func swap(_ projection: String, _ ledger: LedgerName) -> String { "jobledger swap \(ledger).\(projection)" }

    /// How long to wait for a lock. The server checks every half second for killed processes, and
    /// then frees their locks.
    private static let timeout = Duration.seconds(2)

    /// Runs `body` with the lock. Throws ``Rebuild/Busy`` if others hold it for longer than
    /// `timeout`.
    static func withLock<T: Sendable>(
        _ key: String, of projection: String, shared: Bool = false, timeout: Duration = timeout,
        on connection: PostgresConnection, _ body: () async throws -> T
    ) async throws -> T {
        let kind = shared ? "_shared" : ""
        let deadline = ContinuousClock.now.advanced(by: timeout)
        let attempt = "SELECT pg_try_advisory_lock\(kind)(hashtextextended($1, 0))"
        let unlock = "SELECT pg_advisory_unlock\(kind)(hashtextextended($1, 0))"
        while try await !connection.query(attempt, key).only().decode(0, as: Bool.self) {
            guard ContinuousClock.now < deadline else { throw Rebuild.Busy(projection: projection) }
            try await Task.sleep(for: .milliseconds(100))
        }
        do {
            let result = try await body()
            try await connection.query(unlock, key)
            return result
        } catch {
            // Also in a cancelled task, hence a task of its own. If the connection cannot unlock,
            // the lock ends with the session.
            await Task {
                if await connection.isUsable() {
                    _ = try? await connection.query(unlock, key)
                }
            }.value
            throw error
        }
    }
}
