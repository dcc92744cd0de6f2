import ArgumentParser
import AuditTrail
import EventStore
import LedgerCore
import LedgerSettings

struct AuditWhy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Show the causes and the consequences of an event.",
        discussion: """
            The cause of an event is the event that its causation_id names. The command follows the causes up to the \
            first, and the consequences down, in streams of every category.

            EXAMPLE
              jobledger audit why 1207
            """)

    @Argument(help: "The event: its position or its id.")
    var event: String

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        struct Consequence: Encodable {
            var depth: Int
            var event: TrailLine
        }
        var event: TrailLine
        var causes: [TrailLine]
        var outsideCause: ExactText?
        var circular: Bool
        var consequences: [Consequence]
        var more: Bool
    }

    func validate() throws {
        if EventReference(event) == nil {
            throw ValidationError("\(event) is neither a position nor the id of an event (a UUID).")
        }
    }

    func run() async throws {
        guard let name = EventReference(event) else { return }
        let settings = try await options.settings()
        let store = try settings.store(connections: 1)
        let why = try await AuditTrail(store).why(name)
        await store.close()
        guard let why else {
            Output.diagnostic(
                "unknown_event: there is no event \(event), or audit_log has not folded it yet (jobledger status)")
            throw Failure.refused
        }
        if options.json {
            return try Output.json(
                Answer(
                    event: TrailLine(why.event), causes: why.causes.map(TrailLine.init), outsideCause: why.outsideCause,
                    circular: why.isCircular,
                    consequences: why.consequences.map { .init(depth: $0.depth, event: TrailLine($0.entry)) },
                    more: why.hasMore))
        }
        if let outside = why.outsideCause { try Output.line("from outside: \(Output.printable(outside))") }
        if why.isCircular { try Output.line("circular: the causes lead back to one of these events") }
        for (depth, cause) in why.causes.reversed().enumerated() { try line(depth, cause) }
        try line(why.causes.count, why.event, mark: "▶ ")
        for (depth, consequence) in why.consequences { try line(why.causes.count + depth, consequence) }
        if why.hasMore { Output.diagnostic("there are more events than are shown here") }
    }

    /// Writes one event, indented by its distance from the first cause, up to a limit.
    private func line(_ depth: Int, _ entry: TrailEntry, mark: String = "") throws {
        let indent = String(repeating: "  ", count: min(depth, 20)) + mark
        let actor = entry.actor.map { " by \($0)" } ?? ""
        let detail = entry.detail.map { ": \(TrailTable.cut($0, 60))" } ?? ""
        try Output.line(
            "\(TrailTable.seconds(entry.happenedAt))  \(indent)"
                + Output.printable(
                    "\(entry.stream.listed) \(entry.type.rawValue)\(actor)\(detail)  (position \(entry.position))"))
    }
}
