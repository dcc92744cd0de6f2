import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Postgres

struct History: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the events of one job, or of one stream of another category.",
        discussion: """
            With --json, each line is a CloudEvent. Exit code 1 if the job has no events, 2 if the ledger does not \
            have the category.

            EXAMPLE
              jobledger history backtest-7
              jobledger history --category user u-1
              jobledger history backtest-7 --json | tail -n 1
            """)

    @Argument(help: "The job's id, or that of the stream of another category.")
    var job: JobID

    @Option(
        help: ArgumentHelp("The category of the stream.", valueName: "category"),
        transform: CategoryOption.category)
    var category = Category.job

    @OptionGroup var options: LedgerOptions

    func run() async throws {
        let settings = try await options.settings()
        let connection = try await settings.connect("jobledger history")
        var printer = EventPrinter(json: options.json, showsJob: false)
        try await connection.require(category)
        for try await event in connection.events(EventQuery(category: category, job: job)) {
            try printer.print(FeedEvent(event, of: settings.ledger))
        }
        await connection.close()
        guard printer.count > 0 else {
            Output.diagnostic("unknown_job: \(category) \(Output.printable(job)) has no events")
            throw Failure.refused
        }
    }
}
