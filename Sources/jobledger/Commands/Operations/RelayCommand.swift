import ArgumentParser
import LedgerCore
import LedgerSettings
import Logging

struct RelayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay",
        abstract: "Publish the log to Redis.",
        discussion: """
            Runs until it is interrupted. Any number of relays may run: one publishes, the others stand by and take \
            over within 5 s.

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
