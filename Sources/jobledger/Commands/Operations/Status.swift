import ArgumentParser
import EventStore
import Feed
import LedgerCore
import LedgerSettings
import Postgres
import Projections
import Seal

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how far the relay, the projections and the seal are.",
        discussion: """
            Exit code 1 if sealing has stopped, or if an event has stopped a projection or a rebuild.

            EXAMPLE
              jobledger status
              jobledger status --json
            """)

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        struct Reader: Encodable {
            var position: Position
            var lag: Position
            /// Whether a process holds the reader's lease.
            var active: Bool
        }
        struct Projection: Encodable {
            var name: String
            var position: Position
            var lag: Position
            var state: String
            var active: Bool
            var error: String?
            var failedPosition: Position?
            var failedEvent: String?
            /// The result of refolding a sample of jobs.
            var driftChecks: Drift?
        }
        struct Drift: Encodable {
            var jobs: Int64
            var drifted: Int64
            var checkedAt: String
        }
        struct Rebuild: Encodable {
            var projection: String
            var position: Position
            var goal: Position
            /// Whether a process works on it.
            var active: Bool
            var startedAt: String
            var startedBy: String
            var error: String?
            var failedPosition: Position?
            var failedEvent: String?
        }
        struct Seal: Encodable {
            /// The last sealed position.
            var position: Position
            var lag: Position
            var state: String
            var active: Bool
            var error: String?
        }
        /// The session or prepared transaction that holds the lock of the log.
        struct Holder: Encodable {
            var by: String
            var process: Int32?
            var preparedAs: String?
            var user: String
            var application: String?
            /// Missing where the ledger's owner may not see it, and nobody waits yet.
            var heldSeconds: Int?
            var waiting: Int64
        }
        struct Epoch: Encodable {
            var epoch: String
            var firstPosition: Position
            var beganAt: String
            var reason: String
        }
        /// Positions that a reader had, and whose events are gone.
        struct Loss: Encodable {
            var reader: String
            var place: String
            var shared: Position
            var notedAt: String
        }
        var head: Position
        /// The last position that has the level which the ledger demands; missing if that could not
        /// be found out.
        var durable: Position?
        var durability: String
        /// What the server waits for, as `synchronous_standby_names` has it.
        var standbys: String
        var role: String
        var timeline: String?
        var epoch: String
        /// All epochs, the present one last.
        var epochs: [Epoch]
        /// The known losses, the newest first, and how many events they are.
        var losses: [Loss]
        var lostEvents: Int64
        /// How far the time of the last event is ahead of the server's clock.
        var clockAheadSeconds: Int
        var holder: Holder?
        var relay: Reader
        var projections: [Projection]
        /// Rebuilds that were begun and are not finished.
        var rebuilds: [Rebuild]
        var seal: Seal

        /// Whether an error has stopped the seal, a projection or a rebuild.
        var isStopped: Bool {
            seal.error != nil || projections.contains { $0.error != nil } || rebuilds.contains { $0.error != nil }
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        let connection = try await settings.connect("jobledger status")
        let durable = try await Self.durableHead(on: connection)
        var answer = try await connection.transaction(.repeatableRead, readOnly: true) {
            try await Self.load(settings.ledger, on: $0)
        }
        answer.durable = durable
        await connection.close()
        if options.json { try Output.json(answer) } else { try Self.print(answer, of: settings.ledger) }
        if answer.isStopped { throw Failure.refused }
    }
}

// MARK: Loading

extension Status {
    /// `nil` where no standby answers, or the server cannot ask them.
    private static func durableHead(on connection: PostgresConnection) async throws -> Position? {
        do {
            return try await connection.durableHead(patience: .seconds(2))
        } catch is NotConfirmed {
            return nil
        } catch let error as PostgresError where error.sqlState == .readOnly || error.sqlState == .noStandbys {
            return nil
        }
    }

    private static func load(_ ledger: LedgerName, on connection: PostgresConnection) async throws -> Answer {
        let log = try LogStatus(try await connection.query(LogStatus.statement(relay: Relay.reader)))
        let head = log.head
        let seal = try await SealStatus.load(on: connection)
        let losses = try await connection.query(KnownLoss.statement).map { try KnownLoss($0) }
        return Answer(
            head: head, durability: log.demand.rawValue, standbys: log.standbys,
            role: log.isStandby ? "standby" : "primary", timeline: log.timeline, epoch: log.epoch.text,
            epochs: log.epochs.map {
                .init(
                    epoch: $0.epoch.text, firstPosition: $0.firstPosition, beganAt: $0.beganAt.description,
                    reason: $0.reason)
            },
            losses: losses.map {
                .init(
                    reader: $0.reader, place: $0.place.text, shared: $0.shared, notedAt: $0.notedAt.description)
            }, lostEvents: KnownLoss.count(losses),
            clockAheadSeconds: Int(log.clockAhead / .seconds(1)),
            holder: try await holder(on: connection),
            relay: .init(
                position: log.published, lag: head - log.published, active: log.heldLeases.contains(Relay.lease)),
            projections: try await projections(upTo: head, on: connection),
            rebuilds: try await rebuilds(of: ledger, on: connection),
            seal: .init(
                position: seal.position, lag: max(0, head - seal.position),
                state: seal.stopped == nil ? "running" : "stopped", active: seal.isActive, error: seal.stopped))
    }

    private static func holder(on connection: PostgresConnection) async throws -> Answer.Holder? {
        try LogLockHolder(try await connection.query(LogLockHolder.statement)).map { holder in
            let isKnown = holder.age != nil || holder.longestWait != nil
            return .init(
                by: holder.name, process: holder.process, preparedAs: holder.preparedAs, user: holder.user,
                application: holder.application, heldSeconds: isKnown ? Int(holder.heldFor / .seconds(1)) : nil,
                waiting: holder.waiting)
        }
    }

    private static func projections(
        upTo head: Position, on connection: PostgresConnection
    ) async throws -> [Answer.Projection] {
        try await connection.query(ProjectionStatus.statement()).map { row in
            let projection = try ProjectionStatus(row)
            let stopped = projection.stopped
            return Answer.Projection(
                name: projection.name, position: projection.position, lag: head - projection.position,
                state: stopped == nil ? "running" : "stopped", active: projection.isActive, error: stopped?.error,
                failedPosition: stopped?.position, failedEvent: stopped?.event?.text,
                driftChecks: projection.drift.map {
                    Answer.Drift(jobs: $0.jobs, drifted: $0.drifted, checkedAt: $0.checkedAt)
                })
        }
    }

    private static func rebuilds(of ledger: LedgerName, on connection: PostgresConnection) async throws
        -> [Answer.Rebuild]
    {
        try await RebuildState.all(ledger: ledger, on: connection).map { rebuild in
            .init(
                projection: rebuild.projection, position: rebuild.position, goal: rebuild.goal,
                active: rebuild.isActive, startedAt: rebuild.startedAt, startedBy: rebuild.startedBy,
                error: rebuild.failed?.error, failedPosition: rebuild.failed?.position,
                failedEvent: rebuild.failed?.event?.text)
        }
    }
}

// MARK: For people

extension Status {
    private static func print(_ answer: Answer, of ledger: LedgerName) throws {
        try line("ledger", "\(ledger), epoch \(answer.epoch)")
        if let last = answer.epochs.last, answer.epochs.count > 1 {
            try line(
                "epoch",
                "\(answer.epochs.count) since \(last.beganAt), from position \(last.firstPosition): \(last.reason)")
        }
        if let last = answer.losses.first {
            try line(
                "lost",
                "\(answer.lostEvents) events that readers had, the last noted at \(last.notedAt); "
                    + "jobledger lost says more"
            )
        }
        try line("head", "\(answer.head)")
        try line("server", answer.timeline.map { "the primary, on timeline \($0)" } ?? "a standby")
        try line("durability", Self.durability(answer))
        if let holder = answer.holder {
            let time =
                holder.heldSeconds.map { "for \($0) s" }
                ?? "since a moment that the ledger's owner may not see (pg_read_all_stats),"
            try line("held", "\(time) by \(holder.by), \(holder.waiting) appenders wait")
            if let gid = holder.preparedAs { try line("", "ROLLBACK PREPARED '\(gid)' ends it") }
        }
        if answer.clockAheadSeconds >= Int(LogClock.notable / .seconds(1)) {
            try line(
                "clock",
                "\(answer.clockAheadSeconds) s behind the time of the last event; "
                    + "until it catches up, new events get that time")
        }
        try line(
            "relay", "at \(answer.relay.position), \(answer.relay.lag) behind\(idle(answer.relay.active))")
        for projection in answer.projections { try print(projection) }
        let seal = answer.seal
        try line("seal", "at \(seal.position), \(seal.lag) behind, \(seal.state)\(idle(seal.active))")
        if let error = seal.error { try line("", "stopped: \(shown(error))") }
        for rebuild in answer.rebuilds { try print(rebuild) }
    }

    private static func durability(_ answer: Answer) -> String {
        let demand = "the ledger demands \(answer.durability)"
        guard answer.durability == Durability.quorum.rawValue else {
            return answer.standbys.isEmpty ? demand : "\(demand), and commits wait for \(answer.standbys)"
        }
        let reached = answer.durable.map { "reached up to \($0)" } ?? "no standby has confirmed for 2 s"
        return "\(demand) (\(answer.standbys.isEmpty ? "no standbys are set" : answer.standbys)), \(reached)"
    }

    private static func print(_ projection: Answer.Projection) throws {
        try line(
            "projection",
            "\(projection.name) at \(projection.position), \(projection.lag) behind, "
                + "\(projection.state)\(idle(projection.active))")
        if let error = projection.error {
            try stopped(by: projection.failedEvent, at: projection.failedPosition, error)
            try line(
                "",
                "jobledger project --retry \(projection.name), or --skip \(projection.name) "
                    + "--position \(projection.failedPosition ?? 0) --reason …")
        }
        if let drift = projection.driftChecks {
            try line(
                "", "\(drift.jobs) jobs refolded, \(drift.drifted) had drifted, last check at \(drift.checkedAt)")
        }
    }

    private static func print(_ rebuild: Answer.Rebuild) throws {
        let share = rebuild.goal > 0 ? min(100, rebuild.position * 100 / rebuild.goal) : 100
        try line(
            "rebuild",
            "of \(rebuild.projection), \(share) %, at \(rebuild.position) of \(rebuild.goal), "
                + "begun \(rebuild.startedAt) by \(rebuild.startedBy)\(idle(rebuild.active))")
        if let error = rebuild.error { try stopped(by: rebuild.failedEvent, at: rebuild.failedPosition, error) }
    }

    private static func stopped(by event: String?, at position: Position?, _ error: String) throws {
        try line("", "stopped by the event at position \(position ?? 0) (\(event ?? "?")): \(shown(error))")
    }

    private static func idle(_ isActive: Bool) -> String { isActive ? "" : ", no process is working" }

    /// Writes one line. Names and errors come from the ledger's tables, so line feeds and control
    /// characters in them are replaced.
    private static func line(_ title: String, _ text: String) throws {
        try Output.line(Output.printable(title + String(repeating: " ", count: 12 - title.count) + text))
    }

    private static func shown(_ error: String) -> String {
        error.utf8.count > 1000 ? "\(error.shortened(toBytes: 1000)) (--json shows all)" : error
    }
}
