import ArgumentParser
import LedgerCore
import LedgerSettings
import Seal
import TransparencyLog

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
