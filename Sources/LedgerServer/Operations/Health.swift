import BlockingIO
import EventStore
import LedgerCore
import Postgres
import Seal

/// How the service and what it stands on are doing.
struct Health: Sendable {
    /// Anyone may see it: it says that something is wrong and where, and nothing of what is in the
    /// ledger or who uses it.
    struct Check: Sendable {
        let name: String
        let isReady: Bool
        /// Whether requests must not be sent here while it is not ready; the others only make some
        /// of the service slow or stale.
        let isNeeded: Bool
        let detail: String
    }

    /// Where the ledger's readers are.
    struct Lags: Sendable {
        var head: Position
        /// Why nothing can be appended; `nil` where nothing is in the way. Found without writing.
        var readOnly: String?
        var relay: Position
        var isRelayActive: Bool
        var seal: SealStatus
        /// Who has locked the log at this moment, if anybody.
        var holder: LogLockHolder?
        /// By how much the last event's time is ahead of the server's clock.
        var clockAhead: Duration
        var projections: [Projection]

        struct Projection: Sendable {
            var name: String
            var position: Position
            var isActive: Bool
            /// By the event at this position, if it has.
            var stopped: Position?
            /// What refolding a sample of jobs has found.
            var audited: Int64
            var drifted: Int64
            /// How far a rebuild of it is, and where the log ended when it began.
            var rebuild: (position: Position, goal: Position)?
        }
    }

    let store: EventStore
    let stopping: StopSignal

    private static let timeout = Duration.seconds(3)
    /// Rows of projections are written by projectors: no more of them is told than there is reason
    /// to have.
    private static let mostProjections = 100
    private static let longestName = 100

    func checks() async -> [Check] {
        var checks = [
            Check(
                name: "service", isReady: !stopping.isSet, isNeeded: true,
                detail: stopping.isSet ? "it is stopping" : "it accepts requests")
        ]
        let lags: Lags
        do {
            lags = try await withThrowingTaskGroup(of: Lags.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await self.lags() }
                group.addTask {
                    try await Task.sleep(for: Self.timeout)
                    throw Slow()
                }
                guard let first = try await group.next() else { throw Slow() }
                return first
            }
        } catch {
            return checks + [
                Check(name: "postgres", isReady: false, isNeeded: true, detail: Self.explanation(of: error))
            ]
        }
        checks.append(Check(name: "postgres", isReady: true, isNeeded: true, detail: "the log ends at \(lags.head)"))
        let holder = lags.holder.flatMap { $0.heldFor >= LogLockHolder.notable ? $0 : nil }
        checks.append(
            Check(
                name: "log", isReady: holder == nil, isNeeded: false,
                detail: holder.map {
                    "held for \(Int($0.heldFor / .seconds(1))) s, \($0.waiting) appenders wait: jobledger status says by whom"
                }
                    // Whoever holds it for the moment of an append is seen here too.
                    ?? lags.holder.flatMap {
                        $0.age == nil
                            ? "held; since when, the ledger's owner may not see: jobledger status says by whom" : nil
                    }
                    ?? "nobody holds it"))
        checks.append(
            Check(
                name: "clock", isReady: lags.clockAhead < LogClock.notable, isNeeded: false,
                detail: lags.clockAhead < LogClock.notable
                    ? "events get the time of the server's clock"
                    : "the last event's time is \(Int(lags.clockAhead / .seconds(1))) s ahead of it: the clock was once ahead, and until it gets there events have that time"
            ))
        checks.append(
            Check(
                name: "appends", isReady: lags.readOnly == nil, isNeeded: true,
                detail: lags.readOnly.map { "the log takes none: \($0)" } ?? "the log takes them"))
        checks.append(
            Check(
                name: "relay", isReady: lags.isRelayActive, isNeeded: false,
                detail: lags.isRelayActive
                    ? "\(lags.head - lags.relay) events behind"
                    : "nobody publishes: streams are polled, and somewhat later"))
        checks.append(
            Check(
                name: "sealer", isReady: lags.seal.stopped == nil && lags.seal.isActive, isNeeded: false,
                detail: lags.seal.stopped.map { _ in "stopped: jobledger status says why" }
                    ?? (lags.seal.isActive
                        ? "\(max(0, lags.head - lags.seal.position)) events behind"
                        : "nobody seals: events behind position \(lags.seal.position) are not protected")))
        for projection in lags.projections {
            let detail =
                projection.stopped.map { "stopped by the event at position \($0): jobledger status says why" }
                ?? (projection.isActive
                    ? "\(lags.head - projection.position) events behind"
                    : "nobody projects; it stands at \(projection.position)")
            checks.append(
                Check(
                    name: "projection \(projection.name)", isReady: projection.stopped == nil && projection.isActive,
                    isNeeded: false,
                    detail: detail))
        }
        if lags.projections.isEmpty {
            checks.append(
                Check(name: "projections", isReady: false, isNeeded: false, detail: "no projector has run yet"))
        }
        return checks
    }

    private struct Slow: Error {}

    /// Without addresses: this is for anyone to see.
    private static func explanation(of error: any Error) -> String {
        switch (error as? PostgresError)?.sqlState {
        case .undefinedFunction, .undefinedTable, .undefinedSchema:
            return "the ledger is not there, or an older one: jobledger migrate"
        case .insufficientPrivilege: return "the service's user may not read the ledger"
        default: return error is Slow ? "no answer within \(timeout)" : "it cannot be reached"
        }
    }

    func lags() async throws -> Lags {
        let statements = [
            PostgresStatement(
                """
                SELECT head(), coalesce((SELECT position FROM checkpoints WHERE reader = 'relay'), 0),
                       ARRAY(SELECT name FROM leases WHERE is_held(expires_at)),
                       scopes_of_token('', '') IS NULL,
                       \(LogClock.secondsAhead),
                       CASE WHEN pg_is_in_recovery() THEN 'the server is a standby'
                            WHEN current_setting('transaction_read_only')::bool THEN 'sessions are read-only' END
                """, []),
            PostgresStatement(
                """
                SELECT left(name, \(Self.longestName)), p.position, CASE WHEN p.error IS NOT NULL THEN coalesce(p.failed_position, 0) END,
                       coalesce(jobs, 0), coalesce(drifted, 0), goal,
                       coalesce(r.position, (SELECT avg(s.position)::bigint FROM rebuild_slices AS s WHERE s.rebuild = r.id))
                  FROM projections AS p
                  LEFT JOIN drift_checks AS d ON d.projection = name
                  LEFT JOIN rebuilds AS r ON r.projection = name
                 ORDER BY name LIMIT \(Self.mostProjections)
                """, []),
            SealStatus.statement,
            LogLockHolder.statement,
        ]
        let answers = try await store.pool.withConnection { connection in
            let answers = try await connection.pipeline(statements)
            // A session that began read-only goes on so; the next look is a new one's.
            if try answers[0].get().only().decode(5, as: String?.self) != nil { await connection.close() }
            return answers
        }
        let row = try answers[0].get().only()
        let active = Set(try row.decode(2, as: [String].self))
        return Lags(
            head: try row.decode(0), readOnly: try row.decode(5), relay: try row.decode(1),
            isRelayActive: active.contains("relay"),
            seal: try SealStatus(try answers[2].get().only()), holder: try LogLockHolder(try answers[3].get()),
            clockAhead: .seconds(try row.decode(4, as: Double.self)),
            projections: try answers[1].get().map { row in
                let name: String = try row.decode(0)
                let goal: Position? = try row.decode(5)
                return Lags.Projection(
                    name: name, position: try row.decode(1), isActive: active.contains("projection:\(name)"),
                    stopped: try row.decode(2), audited: try row.decode(3), drifted: try row.decode(4),
                    rebuild: try goal.map { (try row.decode(6), $0) })
            })
    }
}
