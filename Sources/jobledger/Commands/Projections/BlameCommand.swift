import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Postgres
import Projections

struct BlameCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "blame",
        abstract: "Show for each column of a job, or of another stream, which event set it.",
        discussion: """
            For each column, shows the last event that changed its value, with the event's type, actor and time. With \
            --at, shows the stream as it was then.

            EXAMPLE
              jobledger blame backtest-7
              jobledger blame deployment d-1 --projections mine
              jobledger blame backtest-7 --at 120 --json
            """)

    @OptionGroup var shown: ShownStream

    @Option(
        help: ArgumentHelp("A position, or a time in RFC 3339.", valueName: "position|time"),
        transform: LogMoment.option("--at"))
    var at: LogMoment?

    @OptionGroup var options: LedgerOptions

    func run() async throws {
        let stream = try shown.stream()
        let definition = try shown.readModel.definition(of: stream.category)
        let settings = try await options.settings()
        let store = try settings.store()
        let position = if let at { try await store.position(of: at) } else { try await store.head() }
        let connection = try await settings.connect("jobledger blame")
        let columns = try await Blame(definition, of: stream.category, ledger: settings.ledger).run(
            stream.id, at: position, on: connection)
        await connection.close()
        guard let columns else {
            let message = "no \(stream.shown) at position \(position)"
            if options.json { try Output.json(Append.ErrorAnswer(Refusal(.unknownJob, message))) }
            Output.diagnostic("unknown_job: \(message)")
            throw Failure.refused
        }
        if options.json {
            return try Output.json(Answer(stream, at: position), adding: "columns", as: Self.json(columns))
        }
        for column in columns {
            let event = column.event.map { event in
                "position \(event.position)  v\(event.version)  \(event.type)  \(event.recordedAt)"
                    + (event.actor.map { "  \(Output.printable($0))" } ?? "")
            }
            try Output.line(
                column.name.padded(to: 21) + Output.value(Array(column.value.utf8), longest: 40).padded(to: 42)
                    + (event ?? "no event"))
        }
    }

    private struct Answer: Encodable {
        var job: JobID?
        var category: String?
        var stream: JobID?
        var position: Position

        init(_ stream: StreamKey, at position: Position) {
            (job, category, self.stream) = stream.members
            self.position = position
        }
    }

    private struct Event: Encodable {
        var column: String
        var position: Position?
        var version: Int32?
        var type: String?
        var actor: ExactText?
        var occurredAt: String?
        var recordedAt: String?
    }

    /// The columns as JSON. The values are JSON text from the database and are copied unchanged,
    /// because a Swift number may not hold all their digits.
    private static func json(_ columns: [Blame.Column]) throws -> String {
        let items = try columns.map { column in
            let event = column.event
            let item = Event(
                column: column.name, position: event?.position, version: event?.version, type: event?.type,
                actor: event?.actor,
                occurredAt: event?.occurredAt?.description, recordedAt: event?.recordedAt.description)
            return try Output.text(item, adding: "value", as: column.value)
        }
        return "[\(items.joined(separator: ","))]"
    }
}
