import LedgerCore
import TransparencyLog

/// Checks the tiles of a tree from the signed root down. A tile is what was signed if its root is
/// the hash in the tile above it, and that tile is what was signed.
struct TileVerification {
    struct CheckedHashes {
        var hashes: [MerkleHash]?
        /// Whether the hashes are what was signed.
        var isTrusted: Bool
    }

    /// A tile that is not what was signed.
    struct Damage: Sendable {
        var tile: Tile
        /// Whether the signed hashes could be computed from the tiles below it.
        var isRepaired: Bool
        var isMissing: Bool
    }

    private let source: any TileSource
    private let edge: CompactRange
    private let isEdgeTrusted: Bool
    /// The last tile of each level. One is enough, because tiles are checked from left to right.
    private var lastOfLevel: [Int: (tile: Tile, checked: CheckedHashes)] = [:]
    private(set) var damages: [Damage] = []

    /// - Parameter isTrusted: whether the edge has the signed root.
    init(_ source: any TileSource, _ edge: CompactRange, isTrusted: Bool) {
        self.source = source
        self.edge = edge
        isEdgeTrusted = isTrusted
    }

    /// What the root of a full tile has to be, and whether that was signed.
    mutating func expectation(of tile: Tile) async throws -> (hash: MerkleHash?, isTrusted: Bool) {
        let (parent, place) = tile.parent
        let above = try await hashes(of: parent)
        guard let hashes = above.hashes, place < hashes.count else { return (nil, false) }
        return (hashes[place], above.isTrusted)
    }

    /// The hashes of a tile above level 0.
    private mutating func hashes(of tile: Tile) async throws -> CheckedHashes {
        if tile.width(inTreeOf: edge.size) < Tile.width {
            return CheckedHashes(hashes: edge.hashes(of: tile), isTrusted: isEdgeTrusted)
        }
        if let (last, checked) = lastOfLevel[tile.level], last == tile { return checked }
        let expected = try await expectation(of: tile)
        let stored = try await source.hashes(of: [tile], treeOf: edge.size)[tile]
        var checked = CheckedHashes(hashes: stored, isTrusted: false)
        if let stored, MerkleHash.root(ofFullTile: stored) == expected.hash {
            checked.isTrusted = expected.isTrusted
        } else {
            // Its hashes are the roots of the tiles below it.
            let children = tile.children()
            let below = try await source.hashes(of: children, treeOf: edge.size)
            let again = children.compactMap { below[$0].map(MerkleHash.root(ofFullTile:)) }
            let isRepaired = again.count == Tile.width && MerkleHash.root(ofFullTile: again) == expected.hash
            damages.append(Damage(tile: tile, isRepaired: isRepaired && expected.isTrusted, isMissing: stored == nil))
            if isRepaired { checked = CheckedHashes(hashes: again, isTrusted: expected.isTrusted) }
        }
        lastOfLevel[tile.level] = (tile, checked)
        return checked
    }
}
