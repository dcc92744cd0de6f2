import ArgumentParser
import LedgerCore
import LedgerSettings
import Logging
import Seal

struct AuditSeal: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "seal",
        abstract: "Seal what is appended, with signed checkpoints.",
        discussion: """
            Runs until it is interrupted. JOBLEDGER_SEAL_KEY names the file with the private key (made by `jobledger \
            audit key --out FILE`), which no other part of the ledger needs. The last signed checkpoint is kept in \
            FILE.signed, or in the file that JOBLEDGER_SEAL_MEMORY names. Any number of sealers may run: one seals, \
            the others stand by and take over within 5 s.

            If a failover or a restore has lost sealed events, the sealer stops: a key signs no second history. Make \
            another key, name it in JOBLEDGER_SEAL_KEY, and give the file of the one before with --after-loss. That \
            key signs where its history ended and which key goes on; audit verify shows it.

            EXAMPLE
              export DATABASE_URL=postgresql://localhost/platform
              JOBLEDGER_SEAL_KEY=/etc/jobledger/seal.key jobledger audit seal
              JOBLEDGER_SEAL_KEY=/etc/jobledger/seal.key jobledger audit seal --until-head
              JOBLEDGER_SEAL_KEY=new.key jobledger audit seal --after-loss seal.key
            """)

    @Flag(help: "Seal the events that are there now, and stop.")
    var untilHead = false

    @Option(
        help: ArgumentHelp(
            "The key that sealed before the ledger lost sealed events. Its record is beside it, or in "
                + "JOBLEDGER_SEAL_MEMORY.", valueName: "file"))
    var afterLoss: String?

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var position: Position
    }

    func run() async throws {
        let settings = try await options.settings()
        let logger = settings.logger("sealer")
        let sealer = try settings.sealer(afterLossOf: afterLoss, logger: logger)
        if untilHead {
            let position = try await settings.followingLeader { try await sealer.sealUntilHead() }
            return options.json
                ? try Output.json(Answer(position: position)) : try Output.line("sealed up to position \(position)")
        }
        logger.info("sealer started", metadata: ["ledger": "\(settings.ledger)"])
        try await settings.serve([Running { await sealer.run() }], logger: logger)
    }
}
