import Foundation
package import LedgerCore
package import Logging
import TransparencyLog

/// The key of a ledger that makes its own, in one file: each epoch has a key of its own, named
/// after the ledger and the epoch.
package struct SealKeyRotation: Sendable {
    private let path: String
    private let ledger: LedgerName
    private let logger: Logger

    /// - Parameter path: of the key; beside it is what was signed with it.
    package init(path: String, ledger: LedgerName, logger: Logger) {
        self.path = path
        self.ledger = ledger
        self.logger = logger
    }

    package static func keyName(_ ledger: LedgerName, _ epoch: EventID) -> ExactText {
        "jobledger/\(ledger)/\(epoch.text)"
    }

    /// Makes the key of an epoch where it is not there. A key of another epoch or ledger is put
    /// aside.
    /// - Parameter lastUsed: the name of the key that the ledger was sealed with last.
    /// - Returns: whether the key is there. It is not made where another key seals this epoch
    ///   already.
    package func prepare(_ epoch: EventID, lastUsed: ExactText?) throws -> Bool {
        let name = Self.keyName(ledger, epoch)
        if try hasKey(named: name, lastUsed: lastUsed) { return true }
        let isOfThePast = lastUsed.map { $0 != name && $0.text.hasPrefix("jobledger/\(ledger)/") } ?? true
        guard isOfThePast else { return false }
        _ = try KeyFile.make(name: name, at: path)
        return true
    }

    private func hasKey(named name: ExactText, lastUsed: ExactText?) throws -> Bool {
        guard FileManager.default.fileExists(atPath: path) else { return false }
        let key = try KeyFile.sealKey(at: path)
        if key.name == name { return true }
        let reason =
            key.name == lastUsed
            ? "another epoch has begun: a new key seals it"
            : "the key in the directory is not one that this ledger was sealed with last: it is put aside, and a new one seals"
        logger.notice("\(reason)", metadata: ["old": "\(key.name)", "new": "\(name)"])
        for file in [path, SealerRecord.path(besideKey: path)] where FileManager.default.fileExists(atPath: file) {
            try FileManager.default.moveItem(
                atPath: file, toPath: file + "." + (key.name.text.split(separator: "/").last ?? "old"))
        }
        return false
    }
}
