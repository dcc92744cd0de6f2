/// A proof that a leaf is in a tree: RFC 6962, section 2.1.1.
public struct InclusionProof: Sendable, Equatable {
    /// The index of the leaf, from 0.
    public var index: Int64
    /// From the leaf's sibling up to the child of the root.
    public var hashes: [MerkleHash]

    public init(index: Int64, hashes: [MerkleHash]) {
        self.index = index
        self.hashes = hashes
    }

    /// The ranges of leaves whose hashes prove the leaf at `index` in a tree of `size` leaves, in
    /// the order of the proof. None where there is no such leaf.
    package static func ranges(index: Int64, size: Int64) -> [TreeRange] {
        guard index >= 0, index < size else { return [] }
        var (start, end) = (Int64(0), size)
        var ranges: [TreeRange] = []
        while end - start > 1 {
            let middle = start + (end - start).split
            if index < middle {
                ranges.append(TreeRange(middle..<end))
                end = middle
            } else {
                ranges.append(TreeRange(start..<middle))
                start = middle
            }
        }
        return ranges.reversed()
    }

    /// The root of the tree of `size` leaves that has `leaf` at ``index``, according to the proof.
    /// RFC 9162, section 2.1.3.2.
    /// - Returns: `nil` where the proof has too many or too few hashes.
    public func root(of leaf: MerkleHash, size: Int64) -> MerkleHash? {
        guard index >= 0, index < size else { return nil }
        var (node, last) = (index, size - 1)
        var root = leaf
        for hash in hashes {
            guard last > 0 else { return nil }
            if node & 1 == 1 || node == last {
                root = MerkleHash.node(hash, root)
                while node & 1 == 0, node != 0 { (node, last) = (node >> 1, last >> 1) }
            } else {
                root = MerkleHash.node(root, hash)
            }
            (node, last) = (node >> 1, last >> 1)
        }
        return last == 0 ? root : nil
    }
}
