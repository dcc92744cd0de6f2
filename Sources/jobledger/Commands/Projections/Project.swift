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
            Runs all projections, or those named, until it is interrupted. Any number of processes may run: one works on a projection, \
            another takes over within 5 s. A changed definition is rebuilt beside the old one, whose tables serve meanwhile.

            An event that a projection cannot fold stops it, and no other. --retry and --skip set it going again, and do nothing else; what is \
            skipped is recorded, and left out by rebuild and verify too. --audit keeps refolding jobs at random and compares them with the \
            tables in use: what differs is logged, counted by `status` and told by /metrics.

            EXAMPLE
              jobledger project
              jobledger project batch_jobs --projections ./my-projections --audit 2
              jobledger project --retry batch_jobs
              jobledger project --skip my_stats --position 1234 --reason "no unit"
            """)

    @Argument(help: "Only these projections.")
    var names: [String] = []

    @Option(
        help: "The most events that are folded in one transaction; JOBLEDGER_WINDOW unless given.",
        transform: NumberOption.integer("--window", 1...1_000_000))
    var window: Int?

    @Option(
        help: ArgumentHelp("Refold so many jobs a second, such as 2 or 0.1, and compare.", valueName: "rate"),
        transform: NumberOption.rate("--audit", 0.001...1000, "jobs a second"))
    var audit: Double?

    @Option(help: ArgumentHelp("Set this stopped projection going again.", valueName: "name"))
    var retry: String?

    @Option(
        help: ArgumentHelp(
            "Leave out the event that has stopped this projection; needs --position and --reason.", valueName: "name"))
    var skip: String?

    @Option(
        help: "With --skip: the position of the event, as status says it.",
        transform: NumberOption.position("--position", from: 1))
    var position: Int64?

    @Option(help: "With --skip: why it may be left out, for the record.")
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
            throw ValidationError("--skip needs --position and --reason: what is left out is recorded with both.")
        }
        guard skip != nil || position == nil && reason == nil else {
            throw ValidationError("--position and --reason go with --skip.")
        }
        guard retry == nil && skip == nil || names.isEmpty && audit == nil else {
            throw ValidationError(
                "--retry and --skip only set a projection going; the projector runs as a process of its own.")
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        if retry != nil || skip != nil { return try await setGoing(settings) }
        let definitions =
            try names.isEmpty ? projections.definitions() : names.map { try projections.definition(named: $0) }
        let logger = settings.logger("projector")
        var services = try settings.projectors(definitions, window: window, logger: logger)
        if let audit { services += try settings.driftChecks(definitions, jobsPerSecond: audit, logger: logger) }
        logger.info("projector started", metadata: ["projections": "\(definitions.map(\.name).joined(separator: ","))"])
        try await settings.serve(services, logger: logger)
    }

    private func setGoing(_ settings: LedgerSettings) async throws {
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
            answer.position.map { "\(answer.projection) leaves out the event at position \($0), and goes on" }
                ?? "\(answer.projection) tries again")
    }
}
