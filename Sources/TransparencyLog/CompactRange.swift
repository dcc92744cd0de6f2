/// The right edge of a Merkle tree: the tiles that are not full yet. The tree can grow from these
/// alone.
package struct CompactRange: Sendable, Equatable {
    package private(set) var size: Int64
    /// `partial[l]` has the hashes of the tile of level *l* that is not full.
    private var partial: [[MerkleHash]]

    /// The edge of the empty tree.
    package init() {
        size = 0
        partial = []
    }

    /// The edge of a tree of `size` leaves.
    /// - Parameters:
    ///   - size: the number of leaves.
    ///   - bytes: from ``bytes``.
    /// - Returns: `nil` where the bytes do not fit the size.
    package init?(size: Int64, bytes: [UInt8]) {
        guard (0...TreeHead.largestSize).contains(size), let hashes = MerkleHash.list(bytes) else { return nil }
        var rest = hashes[...]
        var partial: [[MerkleHash]] = []
        for tile in Tile.edge(ofTreeOf: size) {
            let width = tile.width(inTreeOf: size)
            guard rest.count >= width else { return nil }
            partial.append(Array(rest.prefix(width)))
            rest = rest.dropFirst(width)
        }
        guard rest.isEmpty else { return nil }
        (self.size, self.partial) = (size, partial)
    }

    /// The hashes of all tiles of the edge, one after the other, from level 0 up. How many each
    /// tile has follows from the size.
    package var bytes: [UInt8] { MerkleHash.bytes(partial.joined()) }

    /// The hashes of a tile of the edge; `nil` for any other tile, and for an empty one.
    package func hashes(of tile: Tile) -> [MerkleHash]? {
        guard partial.indices.contains(tile.level), tile.number == size >> (Tile.height * (tile.level + 1)),
            !partial[tile.level].isEmpty
        else { return nil }
        return partial[tile.level]
    }

    /// Adds a leaf.
    /// - Parameters:
    ///   - leaf: the hash of the leaf.
    ///   - filled: gets each tile that has become full.
    package mutating func append(_ leaf: MerkleHash, filled: (Tile, [MerkleHash]) -> Void = { _, _ in }) {
        size += 1
        var (hash, level) = (leaf, 0)
        while true {
            if level == partial.count { partial.append([]) }
            partial[level].append(hash)
            guard partial[level].count == Tile.width else { return }
            let full = partial[level]
            partial[level].removeAll(keepingCapacity: true)
            filled(Tile(level: level, number: (size >> (Tile.height * (level + 1))) - 1), full)
            hash = MerkleHash.perfectRoot(full[...])
            level += 1
        }
    }

    /// The root of the tree: `MTH` of RFC 6962.
    package var root: MerkleHash {
        var root: MerkleHash?
        // From the right: the lowest set bit of the size is the last perfect subtree.
        for hashes in partial {
            var rest = hashes[...]
            while !rest.isEmpty {
                let subtree = MerkleHash.perfectRoot(rest.suffix(1 << rest.count.trailingZeroBitCount))
                rest.removeLast(1 << rest.count.trailingZeroBitCount)
                root = root.map { MerkleHash.node(subtree, $0) } ?? subtree
            }
        }
        return root ?? .ofNothing
    }
}
