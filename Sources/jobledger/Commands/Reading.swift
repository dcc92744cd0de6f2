import ArgumentParser
import Audit
import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerSettings
import Postgres
import TransparencyLog

struct History: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the events of one job.",
        discussion: """
            With --json each is a CloudEvent on a line. A job without events is exit code 1.

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

struct Tail: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Follow the log.",
        discussion: """
            Starts behind position 0 unless told otherwise, and goes on with what comes until it is interrupted, or to the end of the log \
            with --until-head. Every event is shown once, in order, whether or not Redis is there. With --json each is a CloudEvent on a line.

            EXAMPLE
              jobledger tail --last 10
              jobledger tail --type failed --after 120000 --json
              jobledger tail --job backtest-7 --until-head
              jobledger tail --last 10 --witness ~/.ledger-checkpoint
            """)

    @Option(help: "Only this job.")
    var job: JobID?

    @Option(help: "Only this type; may be given several times.")
    var type: [String] = []

    @Option(help: "Start behind this position.", transform: NumberOption.position("--after"))
    var after: Position?

    @Option(help: "Start this many positions before the end of the log.", transform: NumberOption.position("--last"))
    var last: Position?

    @Flag(help: "Stop at what is the end of the log now.")
    var untilHead = false

    @Option(
        help: ArgumentHelp(
            "Be a witness: remember in this file what is sealed, and refuse a history that was rewritten since.",
            valueName: "file"))
    var witness: String?

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        if let unknown = type.first(where: { EventType(rawValue: $0) == nil }) {
            throw ValidationError("--type \(unknown): there are \(EventType.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        if after != nil, last != nil { throw ValidationError("Give --after or --last, not both.") }
    }

    func run() async throws {
        let settings = try await options.settings()
        let (store, redis) = (try settings.store(), try settings.optionalRedis())
        try await look(at: store, settings)
        let head = try await store.head()
        let start = after ?? last.map { max(0, head - $0) } ?? 0
        let types = type.isEmpty ? nil : Set(type.compactMap(EventType.init(rawValue:)))
        var printer = EventPrinter(json: options.json, showsJob: true)
        if untilHead {
            let query = EventQuery(after: start, upTo: head, job: job, types: types)
            let connection = try await settings.connect("jobledger tail")
            for try await event in connection.events(query) { try printer.print(FeedEvent(event, of: settings.ledger)) }
        } else {
            try await settings.withFeed(store, redis) { feed in
                let jobs = job.map { Set([$0]) }
                for try await event in feed.subscribe(after: start, jobs: jobs, types: types) { try printer.print(event) }
            }
        }
    }
}

extension Tail {
    /// Whether the ledger still has the history that it had the last time.
    private func look(at store: EventStore, _ settings: LedgerSettings) async throws {
        guard let witness else { return }
        let memory = CheckpointFile(path: witness)
        let checkpoint = try await Witness(key: try settings.verifierKey(nil), memory: memory).look(at: SealProofs(store))
        Output.diagnostic(
            checkpoint.map {
                "the history up to position \($0.head.size) is the one that was seen before; \(witness) remembers it"
            }
                ?? "nothing is sealed yet: there is nothing to remember")
    }
}

struct Watch: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Follow one job to its end.",
        discussion: """
            Exit code 0 when it finished, 1 when it failed. On a terminal a progress bar, with --json CloudEvents.

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

/// What a watched job looks like.
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
        if event.type.isEnd { end = event.type }
        if json || !isTerminal || event.type != .progress {
            if !json, isTerminal, event.type != .queued { bar.finish() }
            var printer = EventPrinter(json: json, showsJob: false)
            try printer.print(event)
        } else {
            let data = try JSONDecoder().decode(ProgressData.self, from: Data((event.data ?? "{}").utf8))
            completed = max(completed, data.completed ?? 0)
            // As in the read model: a total that is known is at least what was done, also where a later event lowers it.
            let total = event.total > 0 ? max(completed, Int64(event.total)) : 0
            bar.update(completed, of: total, note: data.message ?? "")
        }
    }
}
