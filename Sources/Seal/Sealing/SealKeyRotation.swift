import Foundation
package import LedgerCore
package import Logging
import TransparencyLog

/// The key file of a ledger that makes its own keys. Each epoch has a key of its own, named after
/// the ledger and the epoch.
package struct SealKeyRotation: Sendable {
    private let path: String
    private let ledger: LedgerName
    private let logger: Logger

    /// - Parameter path: of the key. The record of what was signed with it is beside it.
    package init(path: String, ledger: LedgerName, logger: Logger) {
        self.path = path
        self.ledger = ledger
        self.logger = logger
    }

    package static func keyName(_ ledger: LedgerName, _ epoch: EventID) -> ExactText {
        "jobledger/\(ledger)/\(epoch.text)"
    }

    /// Makes the key of an epoch unless it is there. A key of another epoch or ledger is renamed,
    /// with its record.
    /// - Parameter lastUsed: the name of the key that last sealed the ledger; `nil` where nothing
    ///   is sealed.
    /// - Returns: whether the key is there now. It is not made where another key seals this epoch
    ///   already.
    /// - Throws: ``KeyFile/Failure`` where the file cannot be read or written.
    package func prepare(_ epoch: EventID, lastUsed: ExactText?) throws -> Bool {
        let name = Self.keyName(ledger, epoch)
        if try hasKey(named: name, lastUsed: lastUsed) { return true }
        let isOfThePast = lastUsed.map { $0 != name && $0.text.hasPrefix("jobledger/\(ledger)/") } ?? true
        guard isOfThePast else { return false }
        _ = try KeyFile.make(name: name, at: path)
        return true
    }

    private func hasKey(named name: ExactText, lastUsed: ExactText?) throws -> Bool {
        guard try Self.isThere(path) else { return false }
        let key = try KeyFile.sealKey(at: path)
        if key.name == name { return true }
        let reason =
            key.name == lastUsed
            ? "another epoch has begun: a new key seals it"
            : "the key in the directory is not the one that sealed this ledger last: "
                + "it is put aside, and a new one seals"
        logger.notice("\(reason)", metadata: ["old": "\(key.name)", "new": "\(name)"])
        let aside = path + "." + (key.name.text.split(separator: "/").last ?? "old")
        let (record, recordAside) = (SealerRecord(besideKey: path), SealerRecord(besideKey: aside))
        for (file, other) in [
            (path, aside), (record.path, recordAside.path), (record.leavesPath, recordAside.leavesPath),
        ] where try Self.isThere(file) {
            try FileManager.default.moveItem(atPath: file, toPath: other)
        }
        return false
    }

    /// A file that cannot be looked at is not a missing one: a new key must not take its place.
    private static func isThere(_ path: String) throws(KeyFile.Failure) -> Bool {
        var status = stat()
        if lstat(path, &status) == 0 { return true }
        if errno == ENOENT { return false }
        throw KeyFile.Failure("\(path) cannot be read: \(String(cString: strerror(errno)))")
    }
}
