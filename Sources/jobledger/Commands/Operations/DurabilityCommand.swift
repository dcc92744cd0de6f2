import ArgumentParser
import EventStore
import LedgerCore

struct DurabilityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "durability",
        abstract: "Show or set what the ledger demands of each event before it counts.",
        discussion: """
            local: the event is on the server's disk. quorum: the standbys that synchronous_standby_names asks for \
            have it too, so a failover to one of them keeps it. Nothing below the level is acknowledged, published, \
            streamed, projected or sealed. With quorum, nothing can be appended while no standby answers, and setting \
            it waits for the standbys.

            Setting it is for the ledger's owner. The parts that run notice within some seconds.

            EXAMPLE
              jobledger durability
              jobledger durability quorum
            """)

    @Argument(help: "local or quorum; without it, the command shows the level.", transform: DurabilityOption.level)
    var level: Durability?

    @OptionGroup var options: LedgerOptions

    func run() async throws {
        let store = try await options.settings().store()
        if let level { try await store.demand(level) }
        let demanded = try await store.demandedDurability()
        if options.json {
            try Output.json(["durability": demanded.rawValue])
        } else {
            try Output.line("the ledger demands \(demanded.rawValue)")
        }
        await store.close()
    }
}

enum DurabilityOption {
    /// - Throws: `ValidationError` for a text that names no level.
    @Sendable static func level(_ text: String) throws -> Durability {
        guard let level = Durability(rawValue: text) else {
            throw ValidationError("The level is local or quorum, not \(NumberOption.quoted(text)).")
        }
        return level
    }
}
