/// A proof that one tree is the beginning of another: RFC 6962, section 2.1.2.
public struct ConsistencyProof: Sendable, Equatable {
    public var hashes: [MerkleHash]

    public init(hashes: [MerkleHash]) { self.hashes = hashes }

    /// The ranges of leaves whose hashes prove that a tree of `old` leaves is the beginning of one
    /// of `new` leaves, in the order of the proof.
    /// - Returns: nothing where a tree is empty, where both have the same size, or where the older
    ///   one is larger.
    package static func ranges(old: Int64, new: Int64) -> [TreeRange] {
        guard old > 0, old < new else { return [] }
        var (start, end) = (Int64(0), new)
        var ranges: [TreeRange] = []
        // Whether the current range is the whole old tree, whose root the verifier already has.
        var isWhole = true
        while end != old {
            let middle = start + (end - start).split
            if old <= middle {
                ranges.append(TreeRange(middle..<end))
                end = middle
            } else {
                ranges.append(TreeRange(start..<middle))
                start = middle
                isWhole = false
            }
        }
        if !isWhole { ranges.append(TreeRange(start..<end)) }
        return ranges.reversed()
    }

    /// Whether the proof shows that the tree of `old` leaves with the root `oldRoot` is the
    /// beginning of the other tree. RFC 9162, section 2.1.4.2.
    public func holds(old: Int64, oldRoot: MerkleHash, new: Int64, newRoot: MerkleHash) -> Bool {
        guard old >= 0, old <= new else { return false }
        if old == 0 { return hashes.isEmpty && oldRoot == .ofNothing }
        if old == new { return hashes.isEmpty && oldRoot == newRoot }
        var path = hashes[...]
        // A perfect old tree is a node of the new one. The proof leaves out its hash.
        if old.nonzeroBitCount == 1 { path = [oldRoot] + path }
        guard let first = path.popFirst() else { return false }
        var (node, last) = (old - 1, new - 1)
        while node & 1 == 1 { (node, last) = (node >> 1, last >> 1) }
        var (oldHash, newHash) = (first, first)
        for hash in path {
            guard last > 0 else { return false }
            if node & 1 == 1 || node == last {
                oldHash = MerkleHash.node(hash, oldHash)
                newHash = MerkleHash.node(hash, newHash)
                while node & 1 == 0, node != 0 { (node, last) = (node >> 1, last >> 1) }
            } else {
                newHash = MerkleHash.node(newHash, hash)
            }
            (node, last) = (node >> 1, last >> 1)
        }
        return last == 0 && oldHash == oldRoot && newHash == newRoot
    }
}
