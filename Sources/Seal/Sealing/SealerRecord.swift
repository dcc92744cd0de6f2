import BlockingIO
import Foundation
package import LedgerCore
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

    package init(besideKey key: String) { self.init(path: Self.path(besideKey: key)) }

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

    // MARK: Forks

    nonisolated var leavesPath: String { path + ".leaves" }

    /// A record may serve several keys, one after the other, so each has a file of its own.
    private nonisolated func forkFile(of key: VerifierKey) -> PrivateFile {
        PrivateFile("\(path).fork-\(String(key.id, radix: 16))")
    }

    /// How far was sealed, and in which epoch; `nil` where nothing was ever signed.
    package func place() throws(KeyFile.Failure) -> Place? {
        try load().map { Place($0.checkpoint.head.size, epoch: EpochDigits($0.epoch)) }
    }

    /// Keeps the leaves that are about to be sealed, so that it can be proved where a history
    /// ended.
    func keep(_ leaves: [MerkleHash], after position: Position) throws(KeyFile.Failure) {
        do {
            try RecentLeaves(path: leavesPath).add(leaves, after: position)
        } catch {
            throw KeyFile.Failure("the record of what is sealed cannot be written: \(error)")
        }
    }

    /// The leaves of some sealed positions; `nil` where not all of them were kept.
    func leaves(after position: Position, upTo end: Position) throws(KeyFile.Failure) -> [MerkleHash]? {
        do {
            return try RecentLeaves(path: leavesPath).read(after: position, upTo: end)
        } catch {
            throw KeyFile.Failure("the record of what is sealed: \(error)")
        }
    }

    /// All leaves that were kept, and the position before the first of them; `nil` where there are
    /// none.
    func keptLeaves() throws(KeyFile.Failure) -> (after: Position, leaves: [MerkleHash])? {
        do {
            return try RecentLeaves(path: leavesPath).readAll()
        } catch {
            throw KeyFile.Failure("the record of what is sealed: \(error)")
        }
    }

    /// The statement by which a key has ended; `nil` where it has not.
    func fork(of key: VerifierKey) throws(KeyFile.Failure) -> SealFork? {
        let file = forkFile(of: key)
        do {
            return try file.read().map { try SealFork($0.text) }
        } catch {
            throw KeyFile.Failure("\(file.shown), where the sealer keeps how its key ended: \(error)")
        }
    }

    func save(_ fork: SealFork, of key: VerifierKey) throws(KeyFile.Failure) {
        do {
            try forkFile(of: key).write(fork.text)
        } catch {
            throw KeyFile.Failure("the record of what is signed cannot be written: \(error)")
        }
    }
}
