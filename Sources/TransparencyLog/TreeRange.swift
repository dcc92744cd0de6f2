/// A range of leaves, as RFC 6962 divides a tree. It begins where a subtree of its size can begin,
/// and its hash is `MTH` of its leaves.
///
/// A proof is a list of the hashes of such ranges. Each range consists of perfect subtrees, whose
/// hashes are in tiles or follow from them.
package struct TreeRange: Sendable, Hashable {
    package let leaves: Range<Int64>

    init(_ leaves: Range<Int64>) {
        precondition(!leaves.isEmpty)
        self.leaves = leaves
    }

    /// A whole tree of `size` leaves, at least one.
    package init(treeOf size: Int64) { self.init(0..<size) }

    /// The perfect subtrees from left to right. `index` counts the subtrees of `2^height` leaves in
    /// the whole tree.
    private var subtrees: [(height: Int, index: Int64)] {
        var subtrees: [(height: Int, index: Int64)] = []
        var start = leaves.lowerBound
        while start < leaves.upperBound {
            let height = Int64.bitWidth - 1 - (leaves.upperBound - start).leadingZeroBitCount
            subtrees.append((height, start >> height))
            start += 1 << height
        }
        return subtrees
    }

    /// The hashes in a tile from which the root of a perfect subtree follows: one hash, or a power
    /// of two of them.
    private static func place(_ height: Int, _ index: Int64) -> (tile: Tile, hashes: Range<Int>) {
        let (level, above) = height.quotientAndRemainder(dividingBy: Tile.height)
        let first = index << above
        let (number, place) = first.quotientAndRemainder(dividingBy: Int64(Tile.width))
        return (Tile(level: level, number: number), Int(place)..<Int(place) + 1 << above)
    }

    /// The tiles that ``hash(_:)`` needs.
    package var tiles: Set<Tile> { Set(subtrees.map { Self.place($0.height, $0.index).tile }) }

    /// The hash of the range.
    /// - Parameter tiles: returns the hashes of a tile, or `nil` where the tile is missing.
    /// - Returns: `nil` where a tile is missing, or has too few hashes.
    package func hash(_ tiles: (Tile) -> [MerkleHash]?) -> MerkleHash? {
        var hash: MerkleHash?
        for subtree in subtrees.reversed() {
            let (tile, place) = Self.place(subtree.height, subtree.index)
            guard let hashes = tiles(tile), hashes.count >= place.upperBound else { return nil }
            let root = MerkleHash.perfectRoot(hashes[place])
            hash = hash.map { MerkleHash.node(root, $0) } ?? root
        }
        return hash
    }
}

extension Int64 {
    /// The largest power of two below this number, which is at least 2.
    var split: Int64 { 1 << (Int64.bitWidth - 1 - (self - 1).leadingZeroBitCount) }
}
