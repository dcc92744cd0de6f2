import ArgumentParser
import Diagnostics
import Foundation
import LedgerBench
import LedgerSettings
import UnixSignals

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure the ledger against what the hardware can do.",
        discussion: """
            Starts its own Postgres and Redis, measures each row against its baseline in alternating rounds of one \
            run, and removes them afterwards. Without a subcommand, measures all rows except growth and memory. \
            Nothing else should run on the machine. Use a release build: `make bench` makes one.

            EXAMPLE
              jobledger bench --only "concurrent Swift callers" --rounds 3
              jobledger bench --quick --json
              jobledger bench growth --sizes 1,10 --data-dir /mnt/big
            """,
        subcommands: [BenchRows.self, BenchGrowth.self, BenchMemory.self, BenchSubscriberCommand.self],
        defaultSubcommand: BenchRows.self)
}

struct BenchArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Only rows whose text contains this.", valueName: "text"))
    var only: String?

    @Option(help: "The number of rounds for each row.", transform: NumberOption.integer("--rounds", 1...1000))
    var rounds: Int?

    @Flag(help: "Use small sizes, to see that everything runs. The figures mean nothing.")
    var quick = false

    @Option(
        help: ArgumentHelp("Where the servers keep their data. Default: TMPDIR, otherwise /tmp.", valueName: "dir"))
    var dataDir: String?

    @Flag(help: "Write one JSON line a row.")
    var json = false

    @Option(
        help: ArgumentHelp("Write the results to this file as JSON, and to a page beside it.", valueName: "file"))
    var out: String?

    /// Runs `measure` to its end. Ctrl-C and SIGTERM end it early; then too the servers are stopped
    /// and their directory is removed.
    func run(_ measure: @escaping @Sendable (BenchOptions, Report) async throws -> Void) async throws {
        let options = BenchOptions(only: only, rounds: rounds, quick: quick, dataDirectory: dataDir)
        let report = Report(json: json, isQuick: quick, showsProgress: StandardError.isTerminal) { try Output.line($0) }
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await measure(options, report) }
            group.addTask {
                for await _ in signals { throw CancellationError() }
            }
            try await group.next()
        }
        guard await !report.isEmpty else { throw ValidationError("--only \(only ?? ""): there is no such row.") }
        if let out { try await report.write(to: out) }
        guard await report.isWhole else { throw Failure.refused }
    }
}

struct BenchRows: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rows", abstract: "Measure all rows except growth and memory.",
        discussion: """
            EXAMPLE
              jobledger bench rows --only "concurrent Swift callers" --rounds 3
            """)

    @OptionGroup var arguments: BenchArguments

    func run() async throws { try await arguments.run { try await Suite.run($0, $1) } }
}

struct BenchGrowth: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "growth",
        abstract: "Fill a log to several sizes, and measure append, read, history, show and live projection at each.",
        discussion: """
            50 million events take about 60 GB of disk. A size that does not fit on the disk is skipped, and a row \
            says so.

            EXAMPLE
              jobledger bench growth --sizes 1,10,50 --data-dir /mnt/big --out growth.json
            """)

    @Option(help: "Millions of events, separated by commas.")
    var sizes = "1,10,50"

    @OptionGroup var arguments: BenchArguments

    func run() async throws {
        let sizes = try sizes.split(separator: ",").map { text in
            guard let size = Double(text), size > 0, size <= 10_000 else {
                throw ValidationError("--sizes are millions of events such as 1,10,50, not \(text).")
            }
            return size
        }
        try await arguments.run { try await Growth.run($0, $1, sizes: sizes) }
    }
}

struct BenchMemory: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "memory", abstract: "Measure the memory of a relay, projector and appender that are far behind.",
        discussion: """
            EXAMPLE
              jobledger bench memory --events 1000000 --data-dir /mnt/big
            """)

    @Option(
        help: "How many events they are behind.", transform: NumberOption.integer("--events", 1000...10_000_000_000))
    var events = 10_000_000

    @OptionGroup var arguments: BenchArguments

    func run() async throws {
        try await arguments.run { [events] in try await Memory.run($0, $1, events: events) }
    }
}

extension BenchSubscriber.Way: ExpressibleByArgument {}

/// The receiving process of some rows. The bench starts it; users have no need for it.
struct BenchSubscriberCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "subscriber", abstract: "Receive events for the latency and relay rows.", shouldDisplay: false)

    @Argument var way: BenchSubscriber.Way
    @Option(transform: NumberOption.integer("--events", 0...10_000_000_000)) var events: Int

    func run() async throws {
        let settings = try LedgerSettings()
        try await BenchSubscriber(store: try settings.store(), redis: try settings.requireRedis()).run(
            way, events: events)
    }
}
