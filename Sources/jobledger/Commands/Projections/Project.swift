import ArgumentParser
import LedgerCore
import LedgerSettings
import Logging
import Postgres
import Projections

struct Project: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Keep the read models up to date.",
        discussion: """
            Runs all projections, or the named ones, until it is interrupted. Any number of processes may run: one \
            process works on a projection, and another takes over within 5 s. When a definition has changed, the \
            projection is rebuilt beside the old tables, which serve readers meanwhile.

            An event that a projection cannot fold stops this projection only. --retry and --skip resume it and do \
            nothing else. Skipped events are recorded, and rebuild and verify leave them out too. --audit \
            continuously refolds random jobs and compares them with the tables in use. Differences are logged, and \
            `status` and /metrics count them.

            EXAMPLE
              jobledger project
              jobledger project batch_jobs --projections ./my-projections --audit 2
              jobledger project --retry batch_jobs
              jobledger project --skip my_stats --position 1234 --reason "no unit"
            """)

    @Argument(help: "Only these projections.")
    var names: [String] = []

    @Option(
        help: "Fold at most this many events in one transaction. Default: JOBLEDGER_WINDOW.",
        transform: NumberOption.integer("--window", WindowSize.allowed))
    var window: Int?

    @Option(
        help: ArgumentHelp(
            "Refold this many jobs a second, such as 2 or 0.1, and compare them.", valueName: "rate"),
        transform: NumberOption.rate("--audit", 0.001...1000, "jobs a second"))
    var audit: Double?

    @Option(help: ArgumentHelp("Resume this stopped projection.", valueName: "name"))
    var retry: String?

    @Option(
        help: ArgumentHelp(
            "Skip the event that has stopped this projection. Needs --position and --reason.", valueName: "name"))
    var skip: String?

    @Option(
        help: "With --skip: the position of the event, as shown by status.",
        transform: NumberOption.position("--position", from: 1))
    var position: Int64?

    @Option(help: "With --skip: why the event may be skipped. It is recorded.")
    var reason: String?

    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var projection: String
        var did: String
        var position: Int64?
        var eventId: String?
    }

    func validate() throws {
        guard retry == nil || skip == nil else { throw ValidationError("--retry and --skip exclude each other.") }
        guard skip == nil || position != nil && reason?.isEmpty == false else {
            throw ValidationError("--skip needs --position and --reason: a skipped event is recorded with both.")
        }
        guard skip != nil || position == nil && reason == nil else {
            throw ValidationError("--position and --reason need --skip.")
        }
        guard retry == nil && skip == nil || names.isEmpty && audit == nil else {
            throw ValidationError(
                "--retry and --skip only resume a projection: run the projector as another process.")
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        if retry != nil || skip != nil { return try await resume(settings) }
        let definitions =
            try names.isEmpty ? projections.definitions() : names.map { try projections.definition(named: $0) }
        let logger = settings.logger("projector")
        var services = try settings.projectors(definitions, window: window, logger: logger)
        if let audit { services += try settings.driftChecks(definitions, jobsPerSecond: audit, logger: logger) }
        logger.info("projector started", metadata: ["projections": "\(definitions.map(\.name).joined(separator: ","))"])
        try await settings.serve(services, logger: logger)
    }

    /// Lets a stopped projection go on, with the event that stopped it or without it.
    private func resume(_ settings: LedgerSettings) async throws {
        let connection = try await settings.connect("jobledger project")
        let answer: Answer
        do {
            if let skip, let position, let reason {
                let event = try await SkippedEvents.skip(
                    position, of: skip, because: reason, by: Author.current, on: connection)
                answer = Answer(projection: skip, did: "skip", position: position, eventId: event.text)
            } else {
                let name = retry ?? ""
                guard try await SkippedEvents.retry(name, on: connection) else {
                    Output.diagnostic("jobledger: \(name) is not stopped")
                    throw Failure.refused
                }
                answer = Answer(projection: name, did: "retry")
            }
        } catch {
            await connection.close()
            throw error
        }
        await connection.close()
        if options.json { return try Output.json(answer) }
        try Output.line(
            answer.position.map { "\(answer.projection) skips the event at position \($0) and goes on" }
                ?? "\(answer.projection) tries again")
    }
}
