/// A checkpoint with the proof that the log has only grown since an older checkpoint. A log sends
/// it to its witnesses. The format is that of C2SP's tlog-witness.
public struct CheckpointUpdate: Sendable, Equatable {
    /// The size of the log at the older checkpoint.
    public var oldSize: Int64
    public var proof: ConsistencyProof
    public var checkpoint: SignedCheckpoint

    public init(oldSize: Int64, proof: ConsistencyProof, checkpoint: SignedCheckpoint) {
        self.oldSize = oldSize
        self.proof = proof
        self.checkpoint = checkpoint
    }

    public var text: String {
        "old \(oldSize)\n" + proof.hashes.map { $0.base64 + "\n" }.joined() + "\n" + checkpoint.text
    }

    /// - Throws: ``Malformed``
    public init(_ text: String) throws(Malformed) {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
        guard let line = lines.popFirst(), line.hasPrefix("old "), let size = Int64(line.dropFirst(4)),
            (0...TreeHead.largestSize).contains(size),
            "old \(size)" == line
        else { throw Malformed("the first line must be: old SIZE") }
        let hashes = try LogProof.hashes(&lines)
        self.init(
            oldSize: size, proof: ConsistencyProof(hashes: hashes),
            checkpoint: try SignedCheckpoint(lines.joined(separator: "\n")))
    }

    /// Whether the proof shows that the log of `old` is the beginning of this one.
    public func continues(_ old: TreeHead) -> Bool {
        oldSize == old.size
            && proof.holds(old: old.size, oldRoot: old.root, new: checkpoint.head.size, newRoot: checkpoint.head.root)
    }
}
