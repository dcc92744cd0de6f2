package import LedgerCore
import TransparencyLog

/// What the proofs of a stream's events say about the stream as a whole.
///
/// The versions of a stream's events count from 1, and no event follows the end of a job: the
/// database refuses anything else. So the proofs of versions 1, 2, 3 … up to an end are the
/// complete history of the job, because a missing event would leave a gap. Without an end they are
/// all events up to the last of them.
///
/// Of streams of other categories they are always all events up to the last: which types end such a
/// stream is declared in the ledger, and nothing proves the declaration.
package enum StreamProof {
    package enum Extent: Sendable, Equatable {
        /// All events, from the first to the end.
        case whole
        /// All events up to a position. The proofs say nothing about later ones.
        case upTo(Position)
    }

    /// - Parameter proofs: each must have passed ``EventProof/check(by:)``.
    /// - Returns: the stream, and how much of its history the proofs are.
    /// - Throws: ``EventProof/NotProved`` where they are not the events of one stream from its
    ///   first event on.
    package static func extent(
        _ proofs: [EventProof]
    ) throws(EventProof.NotProved) -> (stream: StreamKey, extent: Extent) {
        guard let first = proofs.first, let last = proofs.last else { throw .init("there is no proof") }
        let (name, id) = (first.event.category, first.event.streamID)
        guard let category = Category(name) else { throw .init("\(name) \(id) is of no category") }
        var position = Position(0)
        for (version, proof) in zip(Int32(1)..., proofs) {
            let event = proof.event
            guard proof.proof.checkpoint == first.proof.checkpoint else {
                throw .init("the proofs have different checkpoints: make them all at once, with audit prove --job")
            }
            guard ExactText(event.category) == ExactText(name), event.streamID == id else {
                throw .init(
                    """
                    position \(event.position) is of the \(event.category) \(event.streamID), but the first proof \
                    is of the \(name) \(id)
                    """)
            }
            guard event.version == version else {
                throw .init(
                    "\(name) \(id): version \(version) is missing, and version \(event.version) is in its place")
            }
            guard event.position > position else {
                throw .init("\(name) \(id): version \(version) does not come after the version before it")
            }
            position = event.position
        }
        let isEnd = category == .job && EventType(rawValue: last.event.type)?.isEnd == true
        return (StreamKey(category, id), isEnd ? .whole : .upTo(last.event.position))
    }
}
