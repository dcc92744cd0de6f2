/// A stretch of leaves as RFC 6962 cuts trees up: it begins where a subtree of its size may begin,
/// and its hash is `MTH` of the leaves.
///
/// Proofs are lists of the hashes of such stretches. Each is made of perfect subtrees, whose hashes
/// are in tiles, or follow from them.
public struct TreeRange: Sendable, Hashable {
    public let leaves: Range<Int64>

    init(_ leaves: Range<Int64>) {
        precondition(!leaves.isEmpty)
        self.leaves = leaves
    }

    /// A whole tree of `size` leaves, which has one at least.
    public init(treeOf size: Int64) { self.init(0..<size) }

    /// The perfect subtrees, from the left: the one at `index` among those of `2^height` leaves.
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

    /// The hashes in a tile that a perfect subtree of this height is made of: one, or a power of
    /// two of them.
    private static func place(_ height: Int, _ index: Int64) -> (tile: Tile, hashes: Range<Int>) {
        let (level, above) = height.quotientAndRemainder(dividingBy: Tile.height)
        let first = index << above
        let (number, place) = first.quotientAndRemainder(dividingBy: Int64(Tile.width))
        return (Tile(level: level, number: number), Int(place)..<Int(place) + 1 << above)
    }

    /// The tiles that ``hash(_:)`` asks for.
    public var tiles: Set<Tile> { Set(subtrees.map { Self.place($0.height, $0.index).tile }) }

    /// Its hash.
    /// - Parameter tiles: the hashes of a tile, as many as there are; `nil` where it is missing.
    /// - Returns: `nil` where a tile is missing, or has too few hashes.
    public func hash(_ tiles: (Tile) -> [MerkleHash]?) -> MerkleHash? {
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
    /// The largest power of two below it; it is 2 at least.
    var split: Int64 { 1 << (Int64.bitWidth - 1 - (self - 1).leadingZeroBitCount) }
}
