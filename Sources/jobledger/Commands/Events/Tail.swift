import ArgumentParser
import EventStore
import Feed
import LedgerCore
import LedgerSettings
import Postgres
import Seal
import TransparencyLog

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
            throw ValidationError(
                "--type \(unknown): there are \(EventType.allCases.map(\.rawValue).joined(separator: ", ")).")
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
                for try await event in feed.subscribe(after: start, jobs: jobs, types: types) {
                    try printer.print(event)
                }
            }
        }
    }
}

extension Tail {
    /// Whether the ledger still has the history that it had the last time.
    private func look(at store: EventStore, _ settings: LedgerSettings) async throws {
        guard let witness else { return }
        let memory = CheckpointFile(path: witness)
        let checkpoint = try await Witness(key: try settings.verifierKey(nil), memory: memory).look(
            at: SealProofs(store))
        Output.diagnostic(
            checkpoint.map {
                "the history up to position \($0.head.size) is the one that was seen before; \(witness) remembers it"
            }
                ?? "nothing is sealed yet: there is nothing to remember")
    }
}
