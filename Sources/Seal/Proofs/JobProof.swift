package import LedgerCore
import TransparencyLog

/// What the proofs of a job's events say about the job as a whole.
///
/// Versions count a job's events from 1, and nothing follows its end; the database refuses
/// everything else. So the proofs of versions 1, 2, 3 … up to an end are the whole life of the job:
/// what is missing would leave a gap. Before the end they are all that there was up to the last of
/// them.
package enum JobProof {
    package enum Extent: Sendable, Equatable {
        /// All events, from the first to the end.
        case whole
        /// All events up to a position; what came later, if anything did, is not in the proofs.
        case upTo(Position)
    }

    /// - Parameter proofs: each of which was checked.
    /// - Returns: the job, and how much of it they are.
    /// - Throws: ``EventProof/NotProved`` where they are not the events of one job from its first
    ///   on.
    package static func extent(_ proofs: [EventProof]) throws(EventProof.NotProved) -> (job: JobID, Extent) {
        guard let first = proofs.first, let last = proofs.last else { throw .init("there is no proof") }
        let job = first.event.streamID
        var position = Position(0)
        for (version, proof) in zip(Int32(1)..., proofs) {
            let event = proof.event
            guard proof.proof.checkpoint == first.proof.checkpoint else {
                throw .init("the proofs are by different checkpoints: make them at once, by audit prove --job")
            }
            guard event.category == "job", event.streamID == job else {
                throw .init("position \(event.position) is of the job \(event.streamID), and the first one of \(job)")
            }
            guard event.version == version else {
                throw .init("job \(job): version \(version) is missing, \(event.version) stands in its place")
            }
            guard event.position > position else {
                throw .init("job \(job): version \(version) does not stand behind the one before")
            }
            position = event.position
        }
        let isEnd = EventType(rawValue: last.event.type)?.isEnd ?? false
        return (job, isEnd ? .whole : .upTo(last.event.position))
    }
}
