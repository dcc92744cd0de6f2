import ArgumentParser
import BlockingIO
import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import Projections
import Terminal

struct Top: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Watch the jobs live, in a terminal.",
        discussion: """
            Shows a table that follows the ledger: state, progress, rate and time left of each job. The arrows move, \
            Enter opens a job, / finds a text, s sorts, f shows running jobs only, p pauses, ? shows all keys, and q \
            quits. While the ledger is away the table stays, and goes on by itself afterwards. It has no colours if \
            NO_COLOR is set. Without a terminal, `jobledger jobs` lists the jobs.

            EXAMPLE
              jobledger top
              jobledger top --status running --sort started
              ssh -t ops@ledger.example jobledger top --actor nightly
            """)

    @OptionGroup var conditions: JobListOptions

    @Option(help: ArgumentHelp("The data directory of a running `jobledger up`.", valueName: "dir"))
    var dataDir: String?

    func run() async throws {
        let settings = try LedgerSettings(dataDirectory: dataDir)
        let url = try settings.requireDatabaseURL()
        try RawTerminal.require()
        // What does not answer soon is shown as away, and asked again.
        let store = EventStore(
            url: url, ledger: settings.ledger, connections: 2, timeout: .seconds(2),
            applicationName: "jobledger top \(settings.ledger)")
        let (ledger, query) = (settings.ledger, conditions.query(limit: 1))
        let noColor = ProcessInfo.processInfo.environment["NO_COLOR"] ?? ""
        let exchange = TopExchange(TopQuestion(list: query))
        var source = TopSource(store)
        // A wrong address or a missing read model ends the command, with a message as of any other.
        _ = try await source.ask(exchange.question)
        try await settings.followingLeader {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { [source] in await source.run(exchange) }
                defer { group.cancelAll() }
                try await TerminalLoop.run(hasColors: noColor.isEmpty) { size in
                    TopProgram(
                        model: TopModel(ledger: ledger, conditions: query, size: size), exchange: exchange)
                }
            }
        }
        await store.close()
    }
}

/// The table in the loop of the terminal.
private struct TopProgram: TerminalLoop.Program {
    var model: TopModel
    let exchange: TopExchange

    private static let start = ContinuousClock.now

    private var time: TopTime {
        TopTime(
            seconds: Self.start.duration(to: .now) / .seconds(1),
            now: Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)))
    }

    var isOver: Bool { model.isOver }
    var lines: [Line] { model.lines(at: time) }

    mutating func press(_ key: Key) {
        model.press(key, at: time)
        exchange.ask(model.question)
    }

    mutating func resize(_ size: ScreenSize) {
        model.resize(size)
        exchange.ask(model.question)
    }

    mutating func update() {
        let (answer, problem) = exchange.take()
        if let answer { model.take(answer, at: time) }
        if let problem { model.fail(problem) }
        exchange.ask(model.question)
    }
}

/// Between the thread that draws and the task that asks the ledger: the latest question, and the
/// latest answer.
final class TopExchange: Sendable {
    private struct State {
        var question: TopQuestion
        var answer: TopAnswer?
        var problem: String?
    }

    private let state: Locked<State>
    /// Yields an element when there is another question.
    let questions: AsyncStream<Void>
    private let another: AsyncStream<Void>.Continuation

    init(_ question: TopQuestion) {
        state = Locked(State(question: question))
        (questions, another) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    var question: TopQuestion { state.withLock { $0.question } }

    func ask(_ question: TopQuestion) {
        let isAnother = state.withLock { state in
            defer { state.question = question }
            return state.question != question
        }
        if isAnother { another.yield() }
    }

    func wake() { another.yield() }

    func answer(_ answer: TopAnswer) {
        state.withLock { ($0.answer, $0.problem) = (answer, nil) }
        TerminalSignals.wake()
    }

    func fail(_ problem: String) {
        state.withLock { $0.problem = problem }
        TerminalSignals.wake()
    }

    /// What has come since the last call.
    func take() -> (TopAnswer?, String?) {
        state.withLock { state in
            defer { (state.answer, state.problem) = (nil, nil) }
            return (state.answer, state.problem)
        }
    }
}
