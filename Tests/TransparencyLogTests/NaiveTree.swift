@testable import TransparencyLog

/// RFC 6962, section 2.1, word for word. It is slow, and shares no code with what is tested but the
/// hashes.
struct NaiveTree {
    let leaves: [MerkleHash]

    init(leaves: Int) {
        self.leaves = (0..<leaves).map { MerkleHash.leaf(Array("leaf \($0)".utf8)) }
    }

    func root(_ range: Range<Int>) -> MerkleHash {
        if range.isEmpty { return .ofNothing }
        if range.count == 1 { return leaves[range.lowerBound] }
        let k = Self.split(range.count)
        return .node(root(range.lowerBound..<range.lowerBound + k), root(range.lowerBound + k..<range.upperBound))
    }

    func path(_ m: Int, _ range: Range<Int>) -> [MerkleHash] {
        guard range.count > 1 else { return [] }
        let k = Self.split(range.count)
        let middle = range.lowerBound + k
        return m < k
            ? path(m, range.lowerBound..<middle) + [root(middle..<range.upperBound)]
            : path(m - k, middle..<range.upperBound) + [root(range.lowerBound..<middle)]
    }

    func proof(_ m: Int, _ range: Range<Int>, _ isComplete: Bool = true) -> [MerkleHash] {
        if m == range.count { return isComplete ? [] : [root(range)] }
        let k = Self.split(range.count)
        let middle = range.lowerBound + k
        return m <= k
            ? proof(m, range.lowerBound..<middle, isComplete) + [root(middle..<range.upperBound)]
            : proof(m - k, middle..<range.upperBound, false) + [root(range.lowerBound..<middle)]
    }

    private static func split(_ n: Int) -> Int {
        var k = 1
        while 2 * k < n { k *= 2 }
        return k
    }
}

/// A tree as the ledger stores it: full tiles and an edge.
struct TiledTree {
    var edge = CompactRange()
    var tiles: [Tile: [MerkleHash]] = [:]

    mutating func append(_ leaf: MerkleHash) { edge.append(leaf) { tiles[$0] = $1 } }

    func hashes(_ tile: Tile) -> [MerkleHash]? { tiles[tile] ?? edge.hashes(of: tile) }

    func inclusion(_ index: Int64, _ size: Int64) throws -> InclusionProof {
        InclusionProof(
            index: index, hashes: InclusionProof.ranges(index: index, size: size).compactMap { $0.hash(hashes) })
    }

    func consistency(_ old: Int64, _ new: Int64) -> ConsistencyProof {
        ConsistencyProof(hashes: ConsistencyProof.ranges(old: old, new: new).compactMap { $0.hash(hashes) })
    }
}
