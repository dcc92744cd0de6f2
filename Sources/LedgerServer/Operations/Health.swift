import BlockingIO
import EventStore
import Feed
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
        var log: LogStatus
        var seal: SealStatus
        /// Who has locked the log at this moment, if anybody.
        var holder: LogLockHolder?
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
    private static let maxProjections = 100
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
        checks.append(
            Check(name: "postgres", isReady: true, isNeeded: true, detail: "the log ends at \(lags.log.head)"))
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
                name: "clock", isReady: lags.log.clockAhead < LogClock.notable, isNeeded: false,
                detail: lags.log.clockAhead < LogClock.notable
                    ? "events get the time of the server's clock"
                    : "the last event's time is \(Int(lags.log.clockAhead / .seconds(1))) s ahead of it: the clock was once ahead, and until it gets there events have that time"
            ))
        checks.append(
            Check(
                name: "appends", isReady: lags.log.readOnly == nil, isNeeded: true,
                detail: lags.log.readOnly.map { "the log takes none: \($0)" } ?? "the log takes them"))
        checks.append(
            Check(
                name: "relay", isReady: lags.log.heldLeases.contains(Relay.lease), isNeeded: false,
                detail: lags.log.heldLeases.contains(Relay.lease)
                    ? "\(lags.log.head - lags.log.published) events behind"
                    : "nobody publishes: streams are polled, and somewhat later"))
        checks.append(
            Check(
                name: "sealer", isReady: lags.seal.stopped == nil && lags.seal.isActive, isNeeded: false,
                detail: lags.seal.stopped.map { _ in "stopped: jobledger status says why" }
                    ?? (lags.seal.isActive
                        ? "\(max(0, lags.log.head - lags.seal.position)) events behind"
                        : "nobody seals: events behind position \(lags.seal.position) are not protected")))
        for projection in lags.projections {
            let detail =
                projection.stopped.map { "stopped by the event at position \($0): jobledger status says why" }
                ?? (projection.isActive
                    ? "\(lags.log.head - projection.position) events behind"
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
            // Without it no token can be checked.
            PostgresStatement("SELECT scopes_of_token('', '') IS NULL"),
            LogStatus.statement(relay: Relay.reader),
            PostgresStatement(
                """
                SELECT left(name, \(Self.longestName)), p.position, CASE WHEN p.error IS NOT NULL THEN coalesce(p.failed_position, 0) END,
                       coalesce(jobs, 0), coalesce(drifted, 0), goal,
                       coalesce(r.position, (SELECT avg(s.position)::bigint FROM rebuild_slices AS s WHERE s.rebuild = r.id))
                  FROM projections AS p
                  LEFT JOIN drift_checks AS d ON d.projection = name
                  LEFT JOIN rebuilds AS r ON r.projection = name
                 ORDER BY name LIMIT \(Self.maxProjections)
                """, []),
            SealStatus.statement,
            LogLockHolder.statement,
        ]
        let (log, answers) = try await store.pool.withConnection { connection in
            let answers = try await connection.pipeline(statements)
            _ = try answers[0].get()
            let log = try LogStatus(try answers[1].get())
            // A session that began read-only goes on so; the next look is a new one's.
            if log.readOnly != nil { await connection.close() }
            return (log, answers)
        }
        return Lags(
            log: log, seal: try SealStatus(try answers[3].get().only()),
            holder: try LogLockHolder(try answers[4].get()),
            projections: try answers[2].get().map { row in
                let name: String = try row.decode(0)
                let goal: Position? = try row.decode(5)
                return Lags.Projection(
                    name: name, position: try row.decode(1), isActive: log.heldLeases.contains("projection:\(name)"),
                    stopped: try row.decode(2), audited: try row.decode(3), drifted: try row.decode(4),
                    rebuild: try goal.map { (try row.decode(6), $0) })
            })
    }
}
