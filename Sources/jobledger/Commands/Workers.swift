import ArgumentParser
import LedgerSettings
import Logging
import Projections

struct RelayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay",
        abstract: "Publish the log to Redis.",
        discussion: """
            Runs until it is interrupted. Any number may run: one publishes, the others stand by and take over within 5 s.

            EXAMPLE
              export DATABASE_URL=postgresql://localhost/platform
              export REDIS_URL=redis://localhost:6379
              jobledger relay
            """)

    @OptionGroup var options: LedgerOptions

    func run() async throws {
        let settings = try await options.settings()
        let logger = settings.logger("relay")
        let relay = try settings.relay(try settings.requireRedis(), logger: logger)
        logger.info("relay started", metadata: ["ledger": "\(settings.ledger)"])
        try await settings.serve([relay], logger: logger)
    }
}

struct Project: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Keep the read models up to date.",
        discussion: """
            Runs all projections, or those named, until it is interrupted. Any number of processes may run: one works on a projection, \
            another takes over within 5 s. A changed definition is rebuilt beside the old one.

            EXAMPLE
              jobledger project
              jobledger project batch_jobs --projections ./my-projections
            """)

    @Argument(help: "Only these projections.")
    var names: [String] = []

    @Option(help: "The most events that are folded in one transaction; JOBLEDGER_WINDOW unless given.")
    var window: Int?

    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var options: LedgerOptions

    func validate() throws {
        if let window, !(1...1_000_000).contains(window) {
            throw ValidationError("--window must be from 1 to 1000000, not \(window).")
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        let definitions = try names.isEmpty ? projections.definitions() : names.map { try projections.definition(named: $0) }
        let logger = settings.logger("projector")
        let projectors = try settings.projectors(definitions, window: window, logger: logger)
        logger.info("projector started", metadata: ["projections": "\(definitions.map(\.name).joined(separator: ","))"])
        try await settings.serve(projectors, logger: logger)
    }
}
