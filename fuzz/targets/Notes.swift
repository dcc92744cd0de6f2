import Foundation
import LedgerCore
import Texts
import TransparencyLog

/// Signed notes, checkpoints, proofs and keys from untrusted sources.
func fuzzNotes(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    if let note = try? SignedNote(text) { expect(Array(note.note.utf8) == Array(text.utf8), "a note that changes") }
    if let head = try? TreeHead(text) {
        expect((0...TreeHead.largestSize).contains(head.size), "a tree of \(head.size) leaves")
        expect((try? TreeHead(head.text)) == head, "a head that changes")
    }
    if let checkpoint = try? SignedCheckpoint(text) {
        expect((try? SignedCheckpoint(checkpoint.text)) == checkpoint, "a checkpoint that changes")
    }
    if let fork = try? SealFork(text) {
        expect((try? SealFork(fork.text)) == fork, "a statement of a fork that changes")
        expect(fork.lost.lowerBound > 0, "a fork that lost a position which no log has")
        _ = fork.problem
    }
    if let update = try? CheckpointUpdate(text) {
        expect((try? CheckpointUpdate(update.text)) == update, "an update that changes")
        _ = update.continues(TreeHead(origin: "log", size: update.oldSize, root: update.checkpoint.head.root))
    }
    for proof in (try? LogProof.list(text)) ?? [] {
        expect((try? LogProof(proof.text)) == proof, "a proof that changes")
        _ = proof.inclusion.root(of: .leaf(proof.extra), size: proof.checkpoint.head.size)
        if proof.checkpoint.head.size > 0 {
            _ = InclusionProof.ranges(index: proof.inclusion.index, size: proof.checkpoint.head.size)
        }
    }
    if let key = try? VerifierKey(text) { expect((try? VerifierKey("\(key)")) == key, "a key that changes") }
}
