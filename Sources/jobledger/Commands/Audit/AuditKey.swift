import ArgumentParser
import LedgerCore
import LedgerSettings
import Seal
import TransparencyLog

struct AuditKey: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Make a private key that seals, or show the verifier key.",
        discussion: """
            With --out, makes a private key in a new file that only its owner can read, and prints its verifier key. \
            Without --out, prints the verifier key of the ledger's sealer, if it is known here. Keep the verifier \
            key, and give it to everyone who checks proofs: a checker who takes the key from the ledger each time \
            trusts the ledger. A key is for one ledger and one epoch, and is named after them.

            EXAMPLE
              jobledger audit key --out /etc/jobledger/seal.key
              jobledger audit key > ledger.vkey
            """)

    @Option(help: ArgumentHelp("Make a key in this file.", valueName: "file"))
    var out: String?

    @Option(help: "The name of the key and of its log. Default: the ledger and its epoch.")
    var name: ExactText?

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var name: ExactText
        var verifier: String
    }

    func validate() throws {
        if let name, !VerifierKey.isName(name.text) {
            throw ValidationError("--name: the name of a key must not be empty, and must not have spaces or a +.")
        }
        if name != nil, out == nil { throw ValidationError("--name is for a new key: also give --out.") }
    }

    func run() async throws {
        let settings = try await options.settings()
        let verifier: VerifierKey
        if let out {
            let name = if let name { name } else { try await settings.sealKeyName() }
            verifier = try KeyFile.make(name: name, at: out).verifier
            Output.diagnostic("\(out) holds the private key. This is its verifier key:")
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
