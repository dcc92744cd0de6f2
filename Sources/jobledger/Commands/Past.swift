import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Postgres
import Projections

struct Diff: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what became of the jobs between two moments.",
        discussion: """
            For each job whose row of batch_jobs changed: the columns with both values, and the events in between. It takes as long as the \
            stretch and the histories of its jobs are, however long the log. With --json a line a job: \
            {"job","change","columns":{"NAME":{"from","to"}},"events":[…],"event_count"}; of a job's events the latest \(Changes.mostEvents) are named.

            EXAMPLE
              jobledger diff --from 1000 --to 2000
              jobledger diff --from 2026-11-23T20:00:00Z --to 2026-11-23T21:00:00Z --json
              jobledger diff --from 0 --to 2026-11-23T21:00:00Z --job backtest-7
            """)

    @Option(
        help: ArgumentHelp("As the log ended here: a position, or a time in RFC 3339.", valueName: "position|time"),
        transform: Moment.option("--from"))
    var from: Moment

    @Option(help: ArgumentHelp("And here.", valueName: "position|time"), transform: Moment.option("--to"))
    var to: Moment

    @Option(help: "Only this job.")
    var job: JobID?

    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var options: LedgerOptions

    private struct Line: Encodable {
        var job: JobID
        var change: String
        var eventCount: Int64
    }

    func run() async throws {
        let settings = try await options.settings()
        let definition = try projections.definition(named: ReadModel.projection)
        let store = try settings.store()
        let (from, to) = (try await store.position(of: from), try await store.position(of: to))
        guard from <= to else {
            throw ValidationError(
                "--from \(self.from.text) is position \(from), which is behind --to \(self.to.text), position \(to).")
        }
        if let job, try await store.page(EventQuery(upTo: to, job: job, limit: 1)).isEmpty {
            Output.diagnostic("unknown_job: no job \(Output.printable(job)) at position \(to)")
            throw Failure.refused
        }
        let connection = try await settings.connect("jobledger diff")
        var bar = ProgressBar("comparing", unit: "jobs")
        let changed = try await Changes(definition, ledger: settings.ledger).run(from: from, to: to, job: job, on: connection) {
            bar.update($0, of: $1)
        } _: { change in
            options.json ? try printJSON(change) : try print(change)
        }
        bar.finish()
        await connection.close()
        if !options.json {
            try Output.line("\(changed) \(changed == 1 ? "job" : "jobs") changed between position \(from) and position \(to)")
        }
    }

    private func printJSON(_ change: Changes.Change) throws {
        let line = Line(job: change.job, change: change.isNew ? "added" : "changed", eventCount: change.eventCount)
        try Output.json(line, adding: "columns", as: change.columns + ",\"events\":" + change.events)
    }

    private func print(_ change: Changes.Change) throws {
        try Output.line("\(Output.printable(change.job))  \(change.isNew ? "added" : "changed")")
        for (name, values) in try JSONText.members(of: change.columns) {
            let pair = try JSONText.members(of: values)
            let (from, to) = (pair.first { $0.name == "from" }?.value ?? [], pair.first { $0.name == "to" }?.value ?? [])
            let shown =
                change.isNew
                ? Output.value(to, longest: 100) : "\(Output.value(from, longest: 60)) → \(Output.value(to, longest: 60))"
            try Output.line("    " + name.text.padded(to: 20) + shown)
        }
        for event in try JSONText.elements(of: Array(change.events.utf8)[...]).suffix(10) {
            let members = try JSONText.members(of: Array(event))
            func text(_ name: ExactText) -> String {
                let value = members.first { $0.name == name }.map { Output.value($0.value, longest: 100) } ?? "null"
                return value == "null" ? "" : value
            }
            let words = ["position \(text("position"))", "v\(text("version"))", text("type"), text("recorded_at"), text("actor")]
            try Output.line("    " + words.filter { !$0.isEmpty }.joined(separator: "  "))
        }
        if change.eventCount > 10 { try Output.line("    (the last 10 of \(change.eventCount) events)") }
    }
}

struct BlameCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "blame",
        abstract: "Say for each column of a job which event set it.",
        discussion: """
            The last event after which the column had another value than before, with its type, its actor and its time. With --at, of the \
            job as it was then.

            EXAMPLE
              jobledger blame backtest-7
              jobledger blame backtest-7 --at 120 --json
            """)

    @Argument(help: "The job's id.")
    var job: JobID

    @Option(
        help: ArgumentHelp("A position, or a time in RFC 3339.", valueName: "position|time"), transform: Moment.option("--at"))
    var at: Moment?

    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var options: LedgerOptions

    func run() async throws {
        let settings = try await options.settings()
        let definition = try projections.definition(named: ReadModel.projection)
        let store = try settings.store()
        let position = if let at { try await store.position(of: at) } else { try await store.head() }
        let connection = try await settings.connect("jobledger blame")
        let columns = try await Blame(definition, ledger: settings.ledger).run(job, at: position, on: connection)
        await connection.close()
        guard let columns else {
            let message = "no job \(Output.printable(job)) at position \(position)"
            if options.json { try Output.json(Append.ErrorAnswer(Refusal(.unknownJob, message))) }
            Output.diagnostic("unknown_job: \(message)")
            throw Failure.refused
        }
        if options.json {
            return try Output.json(Answer(job: job, position: position), adding: "columns", as: Self.json(columns))
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
        var job: JobID
        var position: Position
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

    /// Values come as JSON, with numbers that no type of ours may be able to hold: they go out as they came.
    private static func json(_ columns: [Blame.Column]) throws -> String {
        let items = try columns.map { column in
            let event = column.event
            let item = Event(
                column: column.name, position: event?.position, version: event?.version, type: event?.type, actor: event?.actor,
                occurredAt: event?.occurredAt?.description, recordedAt: event?.recordedAt.description)
            return try Output.text(item, adding: "value", as: column.value)
        }
        return "[\(items.joined(separator: ","))]"
    }
}

/// A read model of the past, instead of another of the present.
struct PastOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Make the tables as the log ended here, beside those in use, and leave these alone: a position, or a time in RFC 3339.",
            valueName: "position|time"), transform: Moment.option("--until"))
    var until: Moment?

    @Option(help: ArgumentHelp("The schema for the tables of --until; made where it is not there.", valueName: "schema"))
    var into: String?

    func validate() throws {
        guard (until == nil) == (into == nil) else {
            throw ValidationError("--until and --into go together: the moment, and the schema for the tables as they were then.")
        }
        if let into, LedgerName(into) == nil {
            throw ValidationError("--into \(into): a schema's name has 1 to 50 of a–z, 0–9 and _ here.")
        }
    }

    var wanted: (until: Moment, schema: LedgerName)? {
        if let until, let schema = into.flatMap({ LedgerName($0) }) { (until, schema) } else { nil }
    }
}

extension RebuildCommand {
    private struct PastAnswer: Encodable {
        var projection: String
        var position: Position
        var rows: Int
        var digest: String
        var events: Int64
        var seconds: Double
    }

    func makePast(
        _ definition: ProjectionDefinition, until: Moment, into schema: LedgerName, window: Int, _ settings: LedgerSettings,
        json: Bool
    ) async throws {
        let position = try await settings.store().position(of: until)
        let connection = try await settings.connect("jobledger rebuild \(definition.name)")
        var bar = ProgressBar("replaying", unit: "events")
        let receipt = try await PastTables(definition, ledger: settings.ledger, window: window)
            .run(until: position, into: schema, on: connection) { bar.update($0, of: $1) }
        bar.finish()
        await connection.close()
        let seconds = receipt.duration / .seconds(1)
        if json {
            return try Output.json(
                PastAnswer(
                    projection: definition.name, position: position, rows: receipt.rows, digest: receipt.digest, events: position,
                    seconds: (seconds * 1000).rounded() / 1000))
        }
        try Output.line(
            "\(definition.name) as of position \(position): \(receipt.rows) rows in \(schema)\ndigest \(receipt.digest)")
    }
}
