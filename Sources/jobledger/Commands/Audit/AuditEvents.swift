import ArgumentParser
import AuditTrail
import EventStore
import LedgerCore
import LedgerSettings

struct AuditEvents: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "List who did what, when and why.",
        discussion: """
            Lists the newest events first, of every category; with --job or --type those of jobs, unless --category \
            says which. An event must meet all conditions that are given. --from and --to take positions or times. \
            --text finds words, in any order, in names, messages, reasons and errors of jobs; of other categories no \
            text is searched. --after continues after the last position of the page before.

            EXAMPLE
              jobledger audit events --type failed --from 2026-11-23T00:00:00Z
              jobledger audit events --actor ada --text "out of memory"
              jobledger audit events --category user --type registered
              jobledger audit events --correlation-id req-7 --format csv > req-7.csv
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable { case table, ndjson, csv }

    @Option(help: "Only what this actor did.")
    var actor: ExactText?

    @Option(
        help: ArgumentHelp("Only events of this category.", valueName: "category"),
        transform: CategoryOption.category)
    var category: Category?

    @Option(help: "Only events of this type.")
    var type: String?

    @Option(help: "Only this job, or with --category this stream.")
    var job: JobID?

    @Option(
        help: ArgumentHelp("The first event: a position, or a time in RFC 3339.", valueName: "position|time"),
        transform: LogMoment.option("--from"))
    var from: LogMoment?

    @Option(help: ArgumentHelp("The last event.", valueName: "position|time"), transform: LogMoment.option("--to"))
    var to: LogMoment?

    @Option(name: .customLong("correlation-id"), help: ArgumentHelp("Only with this id.", valueName: "id"))
    var correlationID: ExactText?

    @Option(help: ArgumentHelp("Only events in which all of these words occur.", valueName: "words"))
    var text: String?

    @Flag(help: "List the oldest events first.")
    var oldest = false

    @Option(
        help: ArgumentHelp("Continue after this position, the last of the page before.", valueName: "position"),
        transform: NumberOption.position("--after", from: 1))
    var after: Position?

    @Option(help: "List at most this many.", transform: NumberOption.integer("--limit", 1...100_000))
    var limit = 50

    @Option(help: "table, ndjson or csv.")
    var format: Format = .table

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        if let type { _ = try TypeOption.type(type, of: category ?? .job) }
        if text != nil, let category, category != .job {
            throw ValidationError(
                "--text finds words in events of jobs only: of the category \(category) no text is searched.")
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        let store = try settings.store(connections: 1)
        var query = TrailQuery(order: oldest ? .oldest : .newest, limit: limit)
        query.actor = actor
        query.category = category
        query.type = type.flatMap(EventType.init(rawValue:))
        query.job = job
        query.correlationID = correlationID
        query.text = text
        query.after = after
        if let from { query.from = try await store.firstPosition(from: from) }
        if let to { query.to = try await store.position(of: to) }
        let page = try await AuditTrail(store).page(query)
        await store.close()
        switch options.json ? .ndjson : format {
        case .ndjson: for entry in page.entries { try Output.json(TrailLine(entry)) }
        case .csv: try Output.line(Array(TrailTable.csv(page.entries).utf8))
        case .table: try table(page)
        }
    }

    private func table(_ page: AuditTrail.Page) throws {
        for line in TrailTable.lines(page.entries) { try Output.line(line) }
        guard let last = page.entries.last else {
            return Output.diagnostic("no event up to position \(page.position) meets the conditions")
        }
        if page.entries.count == limit { Output.diagnostic("there may be more: --after \(last.position)") }
    }
}
