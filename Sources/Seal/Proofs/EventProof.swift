import LedgerCore
package import TransparencyLog

/// A proof that an event is in the log, at its position and with this content. It is a C2SP
/// tlog-proof with the event as its extra data.
package struct EventProof: Sendable, Equatable {
    package var event: SealedEvent
    package var proof: LogProof

    init(_ event: SealedEvent, _ inclusion: InclusionProof, _ checkpoint: SignedCheckpoint) throws {
        self.event = event
        proof = LogProof(extra: try event.json, inclusion: inclusion, checkpoint: checkpoint)
    }

    /// - Throws: ``Malformed``
    init(_ proof: LogProof) throws(Malformed) {
        event = try SealedEvent(json: proof.extra)
        self.proof = proof
    }

    /// Reads one proof, or several one after the other.
    /// - Throws: ``Malformed``
    package static func list(_ text: String) throws(Malformed) -> [EventProof] {
        var proofs: [EventProof] = []
        for proof in try LogProof.list(text) { proofs.append(try EventProof(proof)) }
        return proofs
    }

    package var text: String { proof.text }

    /// Checks that the key has signed the checkpoint, and that the tree of the checkpoint has
    /// exactly this event at its position.
    /// - Throws: ``SignedCheckpoint/NotSigned``, ``Malformed``, ``NotProved``
    package func check(by key: VerifierKey) throws {
        try proof.checkpoint.verify(by: key)
        let head = proof.checkpoint.head
        guard event.position == proof.inclusion.index + 1 else {
            throw NotProved(
                "the proof is for position \(proof.inclusion.index + 1), but the event says \(event.position)")
        }
        guard proof.inclusion.root(of: try event.leaf.hash, size: head.size) == head.root else {
            throw NotProved("no such event was sealed at position \(event.position): it, or the proof, was altered")
        }
    }

    package struct NotProved: Error, Sendable, Equatable, CustomStringConvertible {
        package let description: String
        package init(_ description: String) { self.description = description }
    }
}
