import ArgumentParser
import EventStore
import LedgerCore
import LedgerServer
import LedgerSettings
import Postgres

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

    func run() async throws {
        let settings = try await options.settings()
        let connection = try await settings.connect("jobledger status")
        let answer = try await StatusReport.load(settings.ledger, on: connection)
        await connection.close()
        if options.json { try Output.json(answer) } else { try Self.print(answer, of: settings.ledger) }
        if answer.isStopped { throw Failure.refused }
    }
}

// MARK: For people

extension Status {
    private static func print(_ answer: StatusReport, of ledger: LedgerName) throws {
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

    private static func durability(_ answer: StatusReport) -> String {
        let demand = "the ledger demands \(answer.durability)"
        guard answer.durability == Durability.quorum.rawValue else {
            return answer.standbys.isEmpty ? demand : "\(demand), and commits wait for \(answer.standbys)"
        }
        let reached = answer.durable.map { "reached up to \($0)" } ?? "no standby has confirmed for 2 s"
        return "\(demand) (\(answer.standbys.isEmpty ? "no standbys are set" : answer.standbys)), \(reached)"
    }

    private static func print(_ projection: StatusReport.Projection) throws {
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

    private static func print(_ rebuild: StatusReport.Rebuild) throws {
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
