import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Postgres
import Projections

struct Diff: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how jobs, or streams of another category, changed between two moments.",
        discussion: """
            For each stream whose row changed in the read model of its category (batch_jobs for jobs), shows the \
            columns with both values and the events in between. The time it takes depends on the range and on the \
            histories of its streams, and not on the length of the log. With --json, one line a stream: \
            {"job","change","columns":{"NAME":{"from","to"}},"events":[…],"event_count"}, with at most the latest \
            \(Changes.mostEvents) events; of another category, "category" and "stream" in place of "job".

            EXAMPLE
              jobledger diff --from 1000 --to 2000
              jobledger diff --from 2026-11-23T20:00:00Z --to 2026-11-23T21:00:00Z --json
              jobledger diff --from 0 --to 2026-11-23T21:00:00Z --job backtest-7
              jobledger diff --from 0 --to 90 --category deployment --projections mine
            """)

    @Option(
        help: ArgumentHelp("The first moment: a position, or a time in RFC 3339.", valueName: "position|time"),
        transform: LogMoment.option("--from"))
    var from: LogMoment

    @Option(
        help: ArgumentHelp("The second moment.", valueName: "position|time"), transform: LogMoment.option("--to"))
    var to: LogMoment

    @Option(help: "Only this job, or the stream of another category with this id.")
    var job: JobID?

    @OptionGroup var readModel: ReadModelOptions
    @OptionGroup var options: LedgerOptions

    private struct Line: Encodable {
        var job: JobID?
        var category: String?
        var stream: JobID?
        var change: String
        var eventCount: Int64
    }

    private var category: Category { readModel.category ?? .job }

    func run() async throws {
        let definition = try readModel.definition(of: category)
        let settings = try await options.settings()
        let store = try settings.store()
        let (from, to) = (try await store.position(of: from), try await store.position(of: to))
        guard from <= to else {
            throw ValidationError(
                "--from \(self.from.text) is position \(from), which is after --to \(self.to.text), position \(to).")
        }
        if let job, try await store.page(EventQuery(upTo: to, category: category, job: job, limit: 1)).isEmpty {
            Output.diagnostic("unknown_job: no \(StreamKey(category, job).shown) at position \(to)")
            throw Failure.refused
        }
        let connection = try await settings.connect("jobledger diff")
        var bar = ProgressBar("comparing", unit: category == .job ? "jobs" : "streams")
        let changes = Changes(definition, of: category, ledger: settings.ledger)
        let changed = try await settings.followingLeader {
            try await changes.run(from: from, to: to, stream: job, on: connection) {
                bar.update($0, of: $1)
            } _: { change in
                options.json ? try printJSON(change) : try print(change)
            }
        }
        bar.finish()
        await connection.close()
        if !options.json {
            let unit = category == .job ? "job" : "\(category) stream"
            try Output.line(
                "\(changed) \(unit)\(changed == 1 ? "" : "s") changed between position \(from) and position \(to)")
        }
    }

    private func printJSON(_ change: Changes.Change) throws {
        let (job, category, stream) = StreamKey(category, change.stream).members
        let line = Line(
            job: job, category: category, stream: stream, change: change.isNew ? "added" : "changed",
            eventCount: change.eventCount)
        try Output.json(line, adding: "columns", as: change.columns + ",\"events\":" + change.events)
    }

    private func print(_ change: Changes.Change) throws {
        try Output.line("\(Output.printable(change.stream))  \(change.isNew ? "added" : "changed")")
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
        let shownEvents = 10
        for event in try JSONText.elements(of: Array(change.events.utf8)[...]).suffix(shownEvents) {
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
        if change.eventCount > shownEvents {
            try Output.line("    (the last \(shownEvents) of \(change.eventCount) events)")
        }
    }
}
