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
            Shows the events of every category; with --job or --type those of jobs, unless --category says which. A \
            category or type that the ledger does not have is an error (exit code 2). \
            Starts with the first event unless --after or --last is given. Runs until it is interrupted, or with \
            --until-head to the end of the log. Shows every event once and in order, with or without Redis. If the \
            ledger demands the level quorum, it shows no event before the standbys have it; with --until-head it \
            waits for them for 5 s, and then ends with exit code 3. With --json, each line is a CloudEvent.

            If a failover has lost events that were shown, the command ends with exit code 1. With --go-on it says \
            which are gone, with --json in a line with the member "diverged", and goes on after the last that is left.

            EXAMPLE
              jobledger tail --last 10
              jobledger tail --type failed --after 120000 --json
              jobledger tail --job backtest-7 --until-head
              jobledger tail --category user --type removed
              jobledger tail --last 10 --witness ~/.ledger-checkpoint
              jobledger tail --after 1207.3f2a9c1e --go-on --json
            """)

    @Option(help: "Only this job, or with --category this stream.")
    var job: JobID?

    @Option(
        help: ArgumentHelp("Only streams of this category, such as job.", valueName: "category"),
        transform: CategoryOption.category)
    var category: Category?

    @Option(help: "Only this type. May be given several times.")
    var type: [String] = []

    @Option(
        help: ArgumentHelp(
            "Start after this position, or after this place: 1207.3f2a9c1e.", valueName: "position"),
        transform: NumberOption.place("--after"))
    var after: Place?

    @Option(help: "Start this many positions before the end of the log.", transform: NumberOption.position("--last"))
    var last: Position?

    @Flag(help: "Stop at the present end of the log.")
    var untilHead = false

    @Flag(help: "If the ledger has lost events that were shown, say which, and go on with those that it has.")
    var goOn = false

    @Option(
        help: ArgumentHelp(
            "Keep the latest checkpoint in this file, and fail if the history was rewritten since the last run.",
            valueName: "file"))
    var witness: String?

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        _ = try types
        if after != nil, last != nil { throw ValidationError("Give --after or --last, not both.") }
    }

    private var types: Set<EventType>? {
        get throws {
            type.isEmpty ? nil : Set(try type.map { try TypeOption.type($0, of: category ?? .job) })
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        let (store, redis) = (try settings.store(), try settings.optionalRedis())
        try await checkWitness(store, settings)
        let types = try types
        // Up to there a failover loses nothing, if the ledger demands that. The events are read in
        // the same session: another server might not have confirmed them.
        let connection = untilHead ? try await settings.connect("jobledger tail") : nil
        if let connection {
            try await connection.require(category, types)
        } else {
            try await store.require(category, types)
        }
        let head = if let connection { try await connection.durableHead() } else { try await store.head() }
        let start = after ?? Place(last.map { max(0, head - $0) } ?? 0)
        var printer = EventPrinter(json: options.json, showsJob: true)
        var shown = ShownEvents()
        try await goingOn(from: start, &shown) { start, shown in
            if let connection {
                // A position without an epoch may be beyond the end, where nothing is to be shown.
                if start.epoch != nil { try await store.requireShared(start) }
                let query = EventQuery(
                    after: start.position, upTo: head, category: category, job: job, types: types)
                return try await settings.followingLeader {
                    for try await event in connection.events(query) {
                        try printer.print(FeedEvent(event, of: settings.ledger))
                    }
                }
            }
            try await settings.withFeed(store, redis) { feed in
                let jobs = job.map { Set([$0]) }
                for try await event in feed.subscribe(
                    after: start, category: category, jobs: jobs, types: types)
                {
                    try printer.print(event)
                    shown.add(event)
                }
            }
        }
    }

    /// Runs `body`, and with `--go-on` runs it again after each divergence, from the last place
    /// that is shared.
    private func goingOn(
        from start: Place, _ shown: inout ShownEvents, _ body: (Place, inout ShownEvents) async throws -> Void
    ) async throws {
        var start = start
        while true {
            do {
                return try await body(start, &shown)
            } catch let divergence as Divergence where goOn {
                try shown.report(divergence, json: options.json)
                start = divergence.shared
            }
        }
    }
}

extension Tail {
    /// Checks that the ledger continues the checkpoint in the witness file, and keeps the latest
    /// one there.
    private func checkWitness(_ store: EventStore, _ settings: LedgerSettings) async throws {
        guard let witness else { return }
        let memory = CheckpointFile(path: witness)
        let checkpoint = try await Witness(key: try settings.verifierKey(nil), memory: memory).look(
            at: SealProofs(store))
        Output.diagnostic(
            checkpoint.map {
                "the history is unchanged; \(witness) now holds the checkpoint of \($0.head.size) events"
            } ?? "nothing is sealed yet: there is no checkpoint to keep")
    }
}
