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
        abstract: "Tell how far everything is.",
        discussion: """
            Exit code 1 when sealing has stopped, or when an event has stopped a projection, or a rebuild.

            EXAMPLE
              jobledger status
              jobledger status --json
            """)

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        struct Reader: Encodable {
            var position: Position
            var lag: Position
            /// Whether somebody holds the reader's lease right now.
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
            /// What refolding a sample of jobs has found.
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
            /// Whether somebody works on it right now.
            var active: Bool
            var startedAt: String
            var startedBy: String
            var error: String?
            var failedPosition: Position?
            var failedEvent: String?
        }
        struct Seal: Encodable {
            /// The events up to here are sealed.
            var position: Position
            var lag: Position
            var state: String
            var active: Bool
            var error: String?
        }
        /// Who has locked the log right now.
        struct Holder: Encodable {
            var by: String
            var process: Int32?
            var preparedAs: String?
            var user: String
            var application: String?
            var heldSeconds: Int
            var waiting: Int64
        }
        var head: Position
        var epoch: String
        /// By how much the last event's time is ahead of the server's clock.
        var clockAheadSeconds: Int
        var holder: Holder?
        var relay: Reader
        var projections: [Projection]
        /// Those that were begun and are not finished.
        var rebuilds: [Rebuild]
        var seal: Seal
    }

    func run() async throws {
        let settings = try await options.settings()
        let connection = try await settings.connect("jobledger status")
        let answer = try await connection.transaction(.repeatableRead, readOnly: true) {
            try await Self.look(settings.ledger, on: $0)
        }
        await connection.close()
        if options.json {
            try Output.json(answer)
        } else {
            try Self.line("ledger      \(settings.ledger), epoch \(answer.epoch)")
            try Self.line("head        \(answer.head)")
            if let holder = answer.holder {
                try Self.line(
                    "held        for \(holder.heldSeconds) s by \(holder.by), \(holder.waiting) appenders wait")
                if let gid = holder.preparedAs {
                    try Self.line("            ROLLBACK PREPARED '\(gid)' ends it")
                }
            }
            if answer.clockAheadSeconds >= Int(LogClock.notable / .seconds(1)) {
                try Self.line(
                    "clock       \(answer.clockAheadSeconds) s behind the last event's time, which events have until it gets there"
                )
            }
            try Self.line(
                "relay       at \(answer.relay.position), \(answer.relay.lag) behind\(answer.relay.active ? "" : ", nobody at work")"
            )
            for projection in answer.projections {
                try Self.line(
                    "projection  \(projection.name) at \(projection.position), \(projection.lag) behind, \(projection.state)\(projection.active ? "" : ", nobody at work")"
                )
                if let error = projection.error {
                    try Self.line(
                        "            stopped by the event at position \(projection.failedPosition ?? 0) (\(projection.failedEvent ?? "?")): \(Self.shown(error))"
                    )
                    try Self.line(
                        "            jobledger project --retry \(projection.name), or --skip \(projection.name) --position \(projection.failedPosition ?? 0) --reason …"
                    )
                }
                if let drift = projection.driftChecks {
                    try Self.line(
                        "            \(drift.jobs) jobs refolded, \(drift.drifted) had drifted, last at \(drift.checkedAt)"
                    )
                }
            }
            let seal = answer.seal
            try Self.line(
                "seal        at \(seal.position), \(seal.lag) behind, \(seal.state)\(seal.active ? "" : ", nobody at work")"
            )
            if let error = seal.error { try Self.line("            stopped: \(Self.shown(error))") }
            for rebuild in answer.rebuilds {
                let share = rebuild.goal > 0 ? min(100, rebuild.position * 100 / rebuild.goal) : 100
                try Self.line(
                    "rebuild     of \(rebuild.projection), \(share) %, at \(rebuild.position) of \(rebuild.goal), begun \(rebuild.startedAt) by \(rebuild.startedBy)\(rebuild.active ? "" : ", nobody at work")"
                )
                if let error = rebuild.error {
                    try Self.line(
                        "            stopped by the event at position \(rebuild.failedPosition ?? 0) (\(rebuild.failedEvent ?? "?")): \(Self.shown(error))"
                    )
                }
            }
        }
        if answer.seal.error != nil { throw Failure.refused }
        if answer.projections.contains(where: { $0.error != nil })
            || answer.rebuilds.contains(where: { $0.error != nil })
        {
            throw Failure.refused
        }
    }

    /// Names and errors come from the ledger's tables: whatever they hold, a line is one line.
    private static func line(_ text: String) throws { try Output.line(Output.printable(text)) }

    private static func shown(_ error: String) -> String {
        error.utf8.count > 1000 ? "\(error.shortened(toBytes: 1000)) (--json shows all)" : error
    }

    private static func look(_ ledger: LedgerName, on connection: PostgresConnection) async throws -> Answer {
        let log = try LogStatus(try await connection.query(LogStatus.statement(relay: Relay.reader)))
        let (head, active) = (log.head, log.heldLeases)
        let drifts = Dictionary(
            uniqueKeysWithValues: try await connection.query(
                "SELECT projection, jobs, drifted, to_char(checked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM drift_checks"
            ).map {
                (
                    try $0.decode(0, as: String.self),
                    Answer.Drift(jobs: try $0.decode(1), drifted: try $0.decode(2), checkedAt: try $0.decode(3))
                )
            })
        let seal = try await SealStatus.load(on: connection)
        let holder = try LogLockHolder(try await connection.query(LogLockHolder.statement))
        return Answer(
            head: head, epoch: log.epoch.text, clockAheadSeconds: Int(log.clockAhead / .seconds(1)),
            holder: holder.map {
                .init(
                    by: $0.name, process: $0.process, preparedAs: $0.preparedAs, user: $0.user,
                    application: $0.application,
                    heldSeconds: Int($0.heldFor / .seconds(1)), waiting: $0.waiting)
            },
            relay: .init(
                position: log.published, lag: head - log.published, active: active.contains(Relay.lease)),
            projections: try await ProjectionState.all(on: connection).map { state in
                .init(
                    name: state.name, position: state.position, lag: head - state.position,
                    state: state.stopped == nil ? "running" : "stopped",
                    active: active.contains("projection:\(state.name)"),
                    error: state.stopped?.error, failedPosition: state.stopped?.position,
                    failedEvent: state.stopped?.event?.text, driftChecks: drifts[state.name])
            },
            rebuilds: try await RebuildState.all(ledger: ledger, on: connection).map { rebuild in
                .init(
                    projection: rebuild.projection, position: rebuild.position, goal: rebuild.goal,
                    active: rebuild.isActive,
                    startedAt: rebuild.startedAt, startedBy: rebuild.startedBy, error: rebuild.failed?.error,
                    failedPosition: rebuild.failed?.position, failedEvent: rebuild.failed?.event?.text)
            },
            seal: .init(
                position: seal.position, lag: max(0, head - seal.position),
                state: seal.stopped == nil ? "running" : "stopped",
                active: seal.isActive, error: seal.stopped))
    }
}
