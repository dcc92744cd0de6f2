import BlockingIO
import Foundation
import LedgerCore
import PrivateFiles
import TransparencyLog

/// The last checkpoint that a sealer has signed, in a file beside the key and outside the database.
///
/// The sealer writes it before anybody else sees the checkpoint. If the database is rolled back or
/// rewritten while the sealer is away, the sealer sees the difference and does not sign a second
/// history with the same key. It is its own first witness.
package actor SealerRecord {
    struct Content: Sendable, Equatable {
        /// The epoch of the ledger that was sealed.
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
            throw KeyFile.Failure("the record of what is signed cannot be written: \(error)")
        }
    }
}
