package import LedgerCore
package import TransparencyLog

/// The signed statement that a sealed history has ended: the ledger lost events that a key had
/// sealed, and another key goes on from what is left.
///
/// Both keys sign it. It says what the key that ends had signed last, and how many of those events
/// the ledger still has. The proof shows that the tree over these is the beginning of both trees.
/// So whoever has a checkpoint of the old key learns which of its events are gone, and that all
/// before them are the same; and whoever trusts the old key learns the new one.
package struct SealFork: Sendable, Equatable {
    /// What the key that ends has signed last.
    package let ended: TreeHead
    /// The epoch of the ledger that it has sealed.
    package let endedEpoch: EventID
    /// The events up to here are in both trees.
    package let shared: Position
    /// The root of the tree over these events.
    package let sharedRoot: MerkleHash
    /// The epoch in which the other key goes on.
    package let epoch: EventID
    package let successor: VerifierKey
    /// Shows that the shared tree is the beginning of the one that has ended. `nil` where the
    /// sealer had no hashes of the lost events left; then the statement rests on the key's
    /// signatures.
    package let proof: ConsistencyProof?
    package let note: SignedNote

    private static let firstLine = "jobledger/seal-fork/v1"

    /// Signs a statement with both keys.
    init(
        ended: TreeHead, in endedEpoch: EventID, shared: Position, sharedRoot: MerkleHash, proof: ConsistencyProof?,
        goingOnIn epoch: EventID, signedBy old: SealKey, and new: SealKey
    ) throws {
        (self.ended, self.endedEpoch, self.shared, self.sharedRoot) = (ended, endedEpoch, shared, sharedRoot)
        (self.epoch, successor, self.proof) = (epoch, new.verifier, proof)
        let lines = [
            Self.firstLine, "ended \(ended.origin)", "size \(ended.size)", "root \(ended.root.base64)",
            "epoch \(endedEpoch.text)", "shared \(shared)", "shared-root \(sharedRoot.base64)",
            "next-epoch \(epoch.text)", "next-key \(new.verifier)",
        ]
        let hashes = proof?.hashes.map { "proof \($0.base64)" } ?? ["unproved"]
        let text = ExactText((lines + hashes).map { $0 + "\n" }.joined())
        note = SignedNote(text: text, signatures: [try old.signature(of: text), try new.signature(of: text)])
    }

    /// - Throws: ``/TransparencyLog/Malformed``
    package init(_ text: String) throws(Malformed) {
        note = try SignedNote(text)
        var lines = note.text.text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()[...]
        guard lines.popFirst().map(String.init) == Self.firstLine else {
            throw Malformed("the statement of a fork begins with the line \(Self.firstLine)")
        }
        func next<Value>(_ name: String, _ read: (Substring) -> Value?) throws(Malformed) -> Value {
            guard let line = lines.popFirst(), line.hasPrefix(name + " "),
                let value = read(line.dropFirst(name.count + 1))
            else { throw Malformed("the statement of a fork has a line: \(name) …") }
            return value
        }
        let origin = try next("ended") { VerifierKey.isName($0) ? ExactText(String($0)) : nil }
        let size = try next("size") { Position(position: $0) }
        ended = TreeHead(origin: origin, size: size, root: try next("root") { MerkleHash(base64: $0) })
        endedEpoch = try next("epoch") { EventID(text: String($0)) }
        shared = try next("shared") { Position(position: $0) }
        sharedRoot = try next("shared-root") { MerkleHash(base64: $0) }
        epoch = try next("next-epoch") { EventID(text: String($0)) }
        successor = try next("next-key") { try? VerifierKey(String($0)) }
        guard shared < size else { throw Malformed("the statement of a fork names no lost event") }
        if lines.elementsEqual(["unproved"]) {
            proof = nil
        } else {
            var hashes: [MerkleHash] = []
            while !lines.isEmpty {
                guard hashes.count < 63 else { throw Malformed("a proof has up to 63 hashes") }
                hashes.append(try next("proof") { MerkleHash(base64: $0) })
            }
            proof = ConsistencyProof(hashes: hashes)
        }
    }

    package var text: String { note.note }

    /// Whether this key has signed that its history ends here.
    package func isSigned(by key: VerifierKey) -> Bool {
        key.name == ended.origin && note.isSigned(byAnyOf: [key])
    }

    /// What is wrong with the statement by itself; `nil` if nothing is. Whether the key that ends
    /// has signed it, ``isSigned(by:)`` says.
    package var problem: String? {
        guard note.isSigned(byAnyOf: [successor]) else { return "the key that goes on has not signed it" }
        if let proof, !proof.holds(old: shared, oldRoot: sharedRoot, new: ended.size, newRoot: ended.root) {
            return "its proof does not hold"
        }
        return nil
    }

    /// The tree that both histories share, under the name of the key that goes on.
    var sharedHead: TreeHead { TreeHead(origin: successor.name, size: shared, root: sharedRoot) }

    /// The lost positions.
    package var lost: ClosedRange<Position> { shared + 1...ended.size }

    /// What happened, on one line.
    package var summary: String {
        "the log \(ended.origin) had \(ended.size) sealed events in the epoch \(endedEpoch.text), of which the ledger "
            + "lost those from position \(lost.lowerBound) on; \(successor.name) goes on from there in the epoch "
            + "\(epoch.text)"
            + (proof == nil ? "; that the events before are the same is stated, not proved" : "")
    }
}
