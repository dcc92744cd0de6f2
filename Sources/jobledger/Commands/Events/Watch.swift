import ArgumentParser
import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerSettings

struct Watch: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Follow one job to its end.",
        discussion: """
            Shows a progress bar on a terminal, and CloudEvents with --json. Exit code 0 if the job finished, 1 if it \
            failed.

            EXAMPLE
              jobledger watch backtest-7
            """)

    @Argument(help: "The job's id.")
    var job: JobID

    @OptionGroup var options: LedgerOptions

    func run() async throws {
        let settings = try await options.settings()
        let (store, redis) = (try settings.store(), try settings.optionalRedis())
        var view = JobView(json: options.json)
        if try await store.page(EventQuery(job: job, limit: 1)).isEmpty {
            Output.diagnostic("job \(Output.printable(job)) has no events yet; waiting for it")
        }
        try await settings.withFeed(store, redis) { feed in
            for try await event in feed.subscribe(job: job) { try view.show(event) }
        }
        if view.end == .failed { throw Failure.refused }
    }
}

/// Shows a watched job: its progress as a bar, and its other events as lines.
private struct JobView {
    private let json: Bool
    private var bar = ProgressBar("running", unit: "runs")
    private var completed: Int64 = 0
    private(set) var end: EventType?
    private let isTerminal = isatty(STDERR_FILENO) == 1

    init(json: Bool) { self.json = json }

    private struct ProgressData: Decodable {
        var completed: Int64?
        var message: String?
    }

    mutating func show(_ event: FeedEvent) throws {
        if event.endsJob { end = event.type }
        if json || !isTerminal || event.type != .progress {
            if !json, isTerminal, event.type != .queued { bar.finish() }
            var printer = EventPrinter(json: json, showsJob: false)
            try printer.print(event)
        } else {
            let data = try JSONDecoder().decode(ProgressData.self, from: Data((event.data ?? "{}").utf8))
            completed = max(completed, data.completed ?? 0)
            // As in the read model, a known total is at least the completed count, even if a later
            // event lowers it.
            let total = event.total > 0 ? max(completed, Int64(event.total)) : 0
            bar.update(completed, of: total, note: data.message ?? "")
        }
    }
}
