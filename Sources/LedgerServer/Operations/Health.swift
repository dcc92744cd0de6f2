import BlockingIO
import EventStore
import Feed
import LedgerCore
import Postgres
import Projections
import Seal

/// The health of the service and of what it depends on.
struct Health: Sendable {
    /// One line of the readiness report. Anyone may see it: it says what is wrong, but nothing
    /// about the ledger's contents or users.
    struct Check: Sendable {
        let name: String
        let isReady: Bool
        /// Whether the service must get no requests while this is not ready. The other checks only
        /// show that a part of it is slow or stale.
        let isNeeded: Bool
        let detail: String
    }

    /// How far the ledger's readers are.
    struct Lags: Sendable {
        var log: LogStatus
        var seal: SealStatus
        /// The session that holds the log's lock at this moment, if any.
        var holder: LogLockHolder?
        var projections: [ProjectionStatus]
        /// How long the service's oldest append has waited for its commit.
        var longestCommit: Duration
        /// How long the standbys have owed the confirmation that was asked for first; `nil` if the
        /// ledger demands one, and they did not even answer this report.
        var longestConfirmation: Duration?
        var losses: [KnownLoss]
    }

    let store: EventStore
    let commits: GroupCommit
    let stopping: StopSignal
    private let lockTimer = LogLockTimer()

    init(store: EventStore, commits: GroupCommit, stopping: StopSignal) {
        self.store = store
        self.commits = commits
        self.stopping = stopping
    }

    private static let timeout = Duration.seconds(3)
    /// An append that takes longer is worth reporting.
    private static let notable = Duration.seconds(5)
    /// How often the service looks who holds the log.
    private static let lookInterval = Duration.seconds(1)
    /// Projectors write the rows of projections, so a report has a limited number of them, with
    /// limited names.
    private static let projectionsStatement = ProjectionStatus.statement(most: 100, longestText: 100)

    func checks() async -> [Check] {
        let service = Check(
            name: "service", isReady: !stopping.isSet, isNeeded: true,
            detail: stopping.isSet ? "it is stopping" : "it accepts requests")
        let lags: Lags
        do {
            lags = try await lagsInTime()
        } catch {
            return [
                service, Check(name: "postgres", isReady: false, isNeeded: true, detail: Self.explanation(of: error)),
            ]
        }
        let postgres = Check(
            name: "postgres", isReady: true, isNeeded: true, detail: "the log ends at position \(lags.log.head)")
        return [
            service, postgres, Self.log(lags), Self.clock(lags), Self.appends(lags), Self.relay(lags),
            Self.sealer(lags),
        ] + Self.projections(lags)
    }

    private func lagsInTime() async throws -> Lags {
        try await withTimeLimit(Self.timeout, orThrow: Slow()) { try await lags() }
    }

    // MARK: The checks

    private static func log(_ lags: Lags) -> Check {
        func check(isReady: Bool, _ detail: String) -> Check {
            Check(name: "log", isReady: isReady, isNeeded: false, detail: detail)
        }
        guard let holder = lags.holder else { return check(isReady: true, "no session holds it") }
        if holder.heldFor >= LogLockHolder.notable {
            return check(
                isReady: false,
                "held for \(Int(holder.heldFor / .seconds(1))) s while \(holder.waiting) appenders wait: "
                    + "jobledger status shows by which session")
        }
        // Every append holds the log for a moment, which needs no mention.
        return check(isReady: true, "no session holds it")
    }

    private static func clock(_ lags: Lags) -> Check {
        let isReady = lags.log.clockAhead < LogClock.notable
        return Check(
            name: "clock", isReady: isReady, isNeeded: false,
            detail: isReady
                ? "events get the time of the server's clock"
                : "the last event's time is \(Int(lags.log.clockAhead / .seconds(1))) s ahead of the server's clock, "
                    + "which was once ahead: until the clock reaches that time, new events get it too")
    }

    private static func appends(_ lags: Lags) -> Check {
        let problem: String? =
            if let reason = lags.log.readOnly {
                "the log takes no appends: \(reason)"
            } else if lags.log.demand == .quorum, lags.log.standbys.isEmpty {
                "the ledger demands the level quorum, and the server waits for no standby: appends are refused"
            } else if lags.longestConfirmation == nil {
                // Before what follows from it.
                "the standbys do not confirm what is in the log, and the ledger demands it"
            } else if lags.longestCommit >= notable {
                """
                the oldest append has waited \(Int(lags.longestCommit / .seconds(1))) s for its commit: for the lock \
                of the log, the disk or the standbys
                """
            } else if let holder = lags.holder, holder.knownHold >= notable {
                """
                the log has been held for \(Int(holder.knownHold / .seconds(1))) s, and all appends wait: \
                jobledger status shows by which session
                """
            } else {
                nil
            }
        return Check(
            name: "appends", isReady: problem == nil, isNeeded: true, detail: problem ?? "the log takes appends")
    }

    private static func relay(_ lags: Lags) -> Check {
        let isActive = lags.log.heldLeases.contains(Relay.lease)
        return Check(
            name: "relay", isReady: isActive, isNeeded: false,
            detail: isActive
                ? "\(lags.log.head - lags.log.published) events behind"
                : "no relay is running: streams poll the log, and are slightly later")
    }

    private static func sealer(_ lags: Lags) -> Check {
        let detail =
            if lags.seal.stopped != nil {
                "stopped: jobledger status shows why"
            } else if lags.seal.isActive {
                "\(max(0, lags.log.head - lags.seal.position)) events behind"
            } else {
                "no sealer is running: events after position \(lags.seal.position) are not protected"
            }
        return Check(
            name: "sealer", isReady: lags.seal.stopped == nil && lags.seal.isActive, isNeeded: false, detail: detail)
    }

    private static func projections(_ lags: Lags) -> [Check] {
        guard !lags.projections.isEmpty else {
            return [Check(name: "projections", isReady: false, isNeeded: false, detail: "no projector has run yet")]
        }
        return lags.projections.map { projection in
            let detail =
                if let stopped = projection.stopped {
                    "stopped by the event at position \(stopped.position ?? 0): jobledger status shows why"
                } else if projection.isActive {
                    "\(lags.log.head - projection.position) events behind"
                } else {
                    "no projector is running; it is at position \(projection.position)"
                }
            return Check(
                name: "projection \(projection.name)", isReady: projection.stopped == nil && projection.isActive,
                isNeeded: false, detail: detail)
        }
    }

    private struct Slow: Error {}

    /// Leaves out the server's addresses: anyone may see this.
    private static func explanation(of error: any Error) -> String {
        switch (error as? PostgresError)?.sqlState {
        case .undefinedFunction, .undefinedTable, .undefinedSchema:
            return "the ledger does not exist or is of an older version: run jobledger migrate"
        case .insufficientPrivilege: return "the service's user may not read the ledger"
        default: return error is Slow ? "no answer within \(timeout)" : "it cannot be reached"
        }
    }

    // MARK: The ledger's readers

    func lags() async throws -> Lags {
        let statements = [
            // Fails if the ledger is too old to check tokens.
            PostgresStatement("SELECT scopes_of_token('', '') IS NULL"), LogStatus.statement(relay: Relay.reader),
            Self.projectionsStatement, SealStatus.statement, LogLockHolder.statement, KnownLoss.statement,
        ]
        let (log, answers) = try await store.pool.withConnection { connection in
            let answers = try await connection.pipeline(statements)
            _ = try answers[0].get()
            let log = try LogStatus(try answers[1].get())
            // A session that began as read-only stays so, so the next check must use a new one.
            if log.readOnly != nil { await connection.close() }
            return (log, answers)
        }
        return Lags(
            log: log, seal: try SealStatus(try answers[3].get().only()),
            holder: lockTimer.note(try LogLockHolder(try answers[4].get())),
            projections: try answers[2].get().map { try ProjectionStatus($0) },
            longestCommit: commits.longestInFlight,
            longestConfirmation: try await longestConfirmation(log),
            losses: try answers[5].get().map { try KnownLoss($0) })
    }

    /// Looks regularly who holds the log, until the task is cancelled, so that a report knows since
    /// when.
    func watchLog() async {
        var statement = LogLockHolder.statement
        // A server that does not answer would not cancel the question either.
        statement.endsByClosing = true
        // Cancellation ends the sleep, and with it this loop.
        while (try? await Task.sleep(for: Self.lookInterval)) != nil {
            do {
                let rows = try await withTimeLimit(Self.timeout, orThrow: Slow()) { [store, statement] in
                    try await store.pool.withConnection { try await $0.query(statement) }
                }
                lockTimer.note(try LogLockHolder(rows))
            } catch {
                // The report itself says that the server does not answer. What was seen before is
                // kept: the holder may go on holding the log.
            }
        }
    }

    /// In a ledger that demands quorum, asks the standbys, since nobody else may be asking.
    private func longestConfirmation(_ log: LogStatus) async throws -> Duration? {
        let confirmations = commits.confirmations
        let longest = await confirmations.longestWait
        guard log.demand == .quorum, !log.isStandby, !log.standbys.isEmpty else { return longest }
        guard longest < Self.notable else { return nil }
        do {
            _ = try await confirmations.head(within: .seconds(1))
            return longest
        } catch is NotConfirmed {
            return nil
        }
    }
}
