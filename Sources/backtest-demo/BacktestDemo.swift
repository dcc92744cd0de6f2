import ArgumentParser
import Backtest
import Diagnostics
import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerSettings
import Logging
import Redis

/// Runs a batch backtest on real prices and reports it to the ledger, as a worker of a platform
/// does.
@main
struct BacktestDemo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backtest-demo",
        abstract: "Run a batch backtest of moving-average crossovers through the ledger.",
        discussion: """
            Every combination of ticker, fast and slow window is one run. Workers report progress with their runs; \
            the progress bar is drawn from the live feed, as any other subscriber would draw it.

            EXAMPLE
              backtest-demo --data-dir .jobledger --limit 3000
            """)

    @Option(help: "The state of a running `jobledger up`; its env is read.")
    var dataDir: String?

    @Option(help: "The folder with the daily closes, one CSV file a ticker.")
    var prices = "data/prices"

    @Option(help: "Run no more than this many of the combinations.")
    var limit: Int?

    @Option(help: "The job's id.")
    var job = "backtest-\(EventID.version7().text.suffix(6))"

    func validate() throws {
        if let limit, !(1...1_000_000_000).contains(limit) {
            throw ValidationError("--limit must be from 1 to 1000000000, not \(limit).")
        }
    }

    static func main() async {
        StandardStreams.prepare()
        do {
            try GivenTexts.checkArguments()
        } catch {
            StandardError.say("backtest-demo: \(error)")
            Foundation.exit(2)
        }
        await main(nil)
    }

    func run() async throws {
        let settings = try LedgerSettings(dataDirectory: dataDir)
        guard let url = settings.databaseURL else {
            throw LedgerSettings.Problem(description: "DATABASE_URL is not set; start a ledger with `jobledger up`")
        }
        let store = EventStore(
            url: url.revealed, ledger: settings.ledger, connections: 4, applicationName: "backtest-demo")
        let redis = try settings.redisURL.map { try RedisConfiguration(url: $0.revealed) }

        let series = try ["sp500", "nasdaq"].map { try PriceSeries(contentsOfFile: "\(prices)/\($0).csv") }
        let batch = try Batch(prices: series, grid: .standard(tickers: series.map(\.ticker)))
        let (job, limit) = (JobID(self.job), self.limit)
        write("Job \(job.text.printable): \(batch.count) runs of \(series[0].closes.count) trading days each\n")
        try await Feed.with(store: store, redis: redis, logger: Logger.standardError("backtest-demo")) { feed in
            async let work: Void = BatchWorker(batch: batch, job: job, limit: limit, store: store).run()
            var view = ProgressView()
            for try await event in feed.subscribe(job: job) { try view.show(event) }
            try await work
        }
        try await BestRuns(store: store, job: job).show()
        await store.close()
    }
}
