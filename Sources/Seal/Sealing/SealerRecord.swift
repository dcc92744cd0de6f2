import BlockingIO
import Foundation
import LedgerCore
import PrivateFiles
import TransparencyLog

/// What a sealer remembers outside the database: the last checkpoint that it has signed, in a file
/// beside the key.
///
/// It is written before the checkpoint is shown to anybody. So a database that was rolled back or
/// rewritten while the sealer was away cannot have the key sign a second history: the sealer is its
/// own first witness.
package actor SealerRecord {
    struct Content: Sendable, Equatable {
        /// Of the ledger that was sealed.
        var epoch: EventID
        var checkpoint: SignedCheckpoint
    }

    private let executor = BlockingExecutor(label: "sealer record")
    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private nonisolated let file: PrivateFile

    package init(path: String) { file = PrivateFile(path) }

    package nonisolated var path: String { file.path }

    /// Where the record of a key is kept unless the settings say otherwise.
    package static func path(besideKey key: String) -> String { key + ".signed" }

    /// `nil` where nothing was ever signed.
    /// - Throws: ``KeyFile/Failure``
    func load() throws(KeyFile.Failure) -> Content? {
        do {
            guard let text = try file.read()?.text else { return nil }
            let parts = text.split(separator: "\n", maxSplits: 1)
            guard parts.count == 2, parts[0].hasPrefix("epoch "),
                let epoch = EventID(text: String(parts[0].dropFirst(6)))
            else {
                throw Malformed("its first line is not: epoch UUID")
            }
            return Content(epoch: epoch, checkpoint: try SignedCheckpoint(String(parts[1])))
        } catch {
            throw KeyFile.Failure("\(path), where the sealer keeps what it has signed: \(error)")
        }
    }

    func save(_ content: Content) throws(KeyFile.Failure) {
        do {
            try file.write("epoch \(content.epoch.text)\n\(content.checkpoint.text)")
        } catch {
            throw KeyFile.Failure("what is signed must be kept beside the key: \(error)")
        }
    }
}
