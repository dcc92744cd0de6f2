import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Seal
import TransparencyLog

struct AuditConsistency: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consistency",
        abstract: "Prove that the log only grew since an older checkpoint.",
        discussion: """
            Writes the last checkpoint with the proof that it continues the older one, in the form in which a log \
            sends it to witnesses (C2SP tlog-witness). `jobledger audit check FILE --after OLD` verifies it without \
            the ledger.

            EXAMPLE
              jobledger audit consistency --from checkpoint --out update
              jobledger audit check update --after checkpoint --key ledger.vkey
            """)

    @Option(help: ArgumentHelp("The older checkpoint, in a file, or its size.", valueName: "file|size"))
    var from: String

    @Option(help: ArgumentHelp("Write to this file and not to standard output.", valueName: "file"))
    var out: String?

    @OptionGroup var options: LedgerOptions

    func run() async throws {
        let settings = try await options.settings()
        let size = if let size = Position(position: from) { size } else { try CheckpointFile.required(from).head.size }
        let store = try settings.store(connections: 1)
        let update = try await SealProofs(store).update(from: size)
        await store.close()
        try Output.document(update.text, into: out)
    }
}

extension CheckpointFile {
    /// The checkpoint in a file that must exist.
    /// - Throws: ``ValidationError`` if it does not.
    static func required(_ path: String) throws -> SignedCheckpoint {
        guard let checkpoint = try CheckpointFile(path: path).load() else {
            throw ValidationError("there is no file \(path).")
        }
        return checkpoint
    }
}
