import ArgumentParser
import Audit
import LedgerCore
import LedgerSettings
import Logging
import TransparencyLog

struct AuditSeal: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "seal",
        abstract: "Seal what is appended, with signed checkpoints.",
        discussion: """
            Runs until it is interrupted. JOBLEDGER_SEAL_KEY names the file with the private key (`jobledger audit key --out FILE`), \
            which no other part of the ledger needs; what was signed last is kept in FILE.signed, or in JOBLEDGER_SEAL_MEMORY. Any number \
            may run: one seals, the others stand by and take over within 5 s.

            EXAMPLE
              export DATABASE_URL=postgresql://localhost/platform
              JOBLEDGER_SEAL_KEY=/etc/jobledger/seal.key jobledger audit seal
              JOBLEDGER_SEAL_KEY=/etc/jobledger/seal.key jobledger audit seal --until-head
            """)

    @Flag(help: "Seal what is there now, and stop.")
    var untilHead = false

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var position: Position
    }

    func run() async throws {
        let settings = try await options.settings()
        let logger = settings.logger("sealer")
        let sealer = try settings.sealer(logger: logger)
        if untilHead {
            let position = try await sealer.sealUntilHead()
            return options.json
                ? try Output.json(Answer(position: position)) : try Output.line("sealed up to position \(position)")
        }
        logger.info("sealer started", metadata: ["ledger": "\(settings.ledger)"])
        try await settings.serve([Running { await sealer.run() }], logger: logger)
    }
}

struct AuditKey: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Make a key that seals, or show the key that checks.",
        discussion: """
            With --out, makes a private key in a new file that its owner alone can read, and prints the verifier key that belongs to it. \
            Without, prints the verifier key of the ledger's sealer, as far as it is known here. Keep it, and give it to those who check: \
            whoever takes it from the ledger each time believes the ledger. A key is for one ledger and one epoch, and is named after them.

            EXAMPLE
              jobledger audit key --out /etc/jobledger/seal.key
              jobledger audit key > ledger.vkey
            """)

    @Option(help: ArgumentHelp("Make a key in this file.", valueName: "file"))
    var out: String?

    @Option(help: "The name of the key, and of the log it signs for; LEDGER and its epoch unless given.")
    var name: ExactText?

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var name: ExactText
        var verifier: String
    }

    func validate() throws {
        if let name, !VerifierKey.isName(name.text) {
            throw ValidationError("--name: a key's name has no spaces and no +, and is not empty.")
        }
        if name != nil, out == nil { throw ValidationError("--name is for a key that is made: give --out as well.") }
    }

    func run() async throws {
        let settings = try await options.settings()
        let verifier: VerifierKey
        if let out {
            let name = if let name { name } else { try await settings.sealKeyName() }
            verifier = try KeyFile.make(name: name, at: out).verifier
            Output.diagnostic("\(out) has the private key. This is the verifier key that belongs to it:")
        } else {
            verifier = try settings.requireVerifierKey(nil)
        }
        if options.json {
            try Output.json(Answer(name: verifier.name, verifier: "\(verifier)"))
        } else {
            try Output.line("\(verifier)")
        }
    }
}
