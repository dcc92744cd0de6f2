import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Postgres

struct History: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the events of one job.",
        discussion: """
            With --json, each line is a CloudEvent. Exit code 1 if the job has no events.

            EXAMPLE
              jobledger history backtest-7
              jobledger history backtest-7 --json | tail -n 1
            """)

    @Argument(help: "The job's id.")
    var job: JobID

    @OptionGroup var options: LedgerOptions

    func run() async throws {
        let settings = try await options.settings()
        let connection = try await settings.connect("jobledger history")
        var printer = EventPrinter(json: options.json, showsJob: false)
        for try await event in connection.events(EventQuery(job: job)) {
            try printer.print(FeedEvent(event, of: settings.ledger))
        }
        await connection.close()
        guard printer.count > 0 else {
            Output.diagnostic("unknown_job: job \(Output.printable(job)) has no events")
            throw Failure.refused
        }
    }
}
