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
        transform: LogMoment.option("--from"))
    var from: LogMoment

    @Option(help: ArgumentHelp("And here.", valueName: "position|time"), transform: LogMoment.option("--to"))
    var to: LogMoment

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
        let definition = try projections.definition(named: JobReadModel.projection)
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
        let changed = try await Changes(definition, ledger: settings.ledger).run(
            from: from, to: to, job: job, on: connection
        ) {
            bar.update($0, of: $1)
        } _: { change in
            options.json ? try printJSON(change) : try print(change)
        }
        bar.finish()
        await connection.close()
        if !options.json {
            try Output.line(
                "\(changed) \(changed == 1 ? "job" : "jobs") changed between position \(from) and position \(to)")
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
            let (from, to) = (
                pair.first { $0.name == "from" }?.value ?? [], pair.first { $0.name == "to" }?.value ?? []
            )
            let shown =
                change.isNew
                ? Output.value(to, longest: 100)
                : "\(Output.value(from, longest: 60)) → \(Output.value(to, longest: 60))"
            try Output.line("    " + name.text.padded(to: 20) + shown)
        }
        for event in try JSONText.elements(of: Array(change.events.utf8)[...]).suffix(10) {
            let members = try JSONText.members(of: Array(event))
            func text(_ name: ExactText) -> String {
                let value = members.first { $0.name == name }.map { Output.value($0.value, longest: 100) } ?? "null"
                return value == "null" ? "" : value
            }
            let words = [
                "position \(text("position"))", "v\(text("version"))", text("type"), text("recorded_at"), text("actor"),
            ]
            try Output.line("    " + words.filter { !$0.isEmpty }.joined(separator: "  "))
        }
        if change.eventCount > 10 { try Output.line("    (the last 10 of \(change.eventCount) events)") }
    }
}
