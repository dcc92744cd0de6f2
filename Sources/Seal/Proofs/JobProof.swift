package import LedgerCore
import TransparencyLog

/// What the proofs of a job's events say about the job as a whole.
///
/// The versions of a job's events count from 1, and no event follows the end of the job: the
/// database refuses anything else. So the proofs of versions 1, 2, 3 … up to an end are the
/// complete history of the job, because a missing event would leave a gap. Without an end they are
/// all events up to the last of them.
package enum JobProof {
    package enum Extent: Sendable, Equatable {
        /// All events, from the first to the end.
        case whole
        /// All events up to a position. The proofs say nothing about later ones.
        case upTo(Position)
    }

    /// - Parameter proofs: each must have passed ``EventProof/check(by:)``.
    /// - Returns: the job, and how much of its history the proofs are.
    /// - Throws: ``EventProof/NotProved`` where they are not the events of one job from its first
    ///   event on.
    package static func extent(_ proofs: [EventProof]) throws(EventProof.NotProved) -> (job: JobID, Extent) {
        guard let first = proofs.first, let last = proofs.last else { throw .init("there is no proof") }
        let job = first.event.streamID
        var position = Position(0)
        for (version, proof) in zip(Int32(1)..., proofs) {
            let event = proof.event
            guard proof.proof.checkpoint == first.proof.checkpoint else {
                throw .init("the proofs have different checkpoints: make them all at once, with audit prove --job")
            }
            guard event.category == "job" else {
                throw .init(
                    """
                    position \(event.position) is of \(event.category) \(event.streamID): only proofs of a job's \
                    events can be checked together
                    """)
            }
            guard event.streamID == job else {
                throw .init(
                    "position \(event.position) is of the job \(event.streamID), but the first proof is of \(job)")
            }
            guard event.version == version else {
                throw .init("job \(job): version \(version) is missing, and version \(event.version) is in its place")
            }
            guard event.position > position else {
                throw .init("job \(job): version \(version) does not come after the version before it")
            }
            position = event.position
        }
        let isEnd = EventType(rawValue: last.event.type)?.isEnd ?? false
        return (job, isEnd ? .whole : .upTo(last.event.position))
    }
}
