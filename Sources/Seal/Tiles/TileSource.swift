import Foundation
import LedgerCore
import Postgres
import TransparencyLog

/// Where tiles come from: the tables of the ledger, or a directory to which they were written.
protocol TileSource: Sendable {
    /// The hashes that each tile has in a tree of `size` leaves. Tiles that are missing, or have
    /// too few hashes, are left out.
    /// - Throws: where it cannot be found out which tiles there are, such as `PostgresError` or
    ///   `FileFailure`.
    func hashes(of tiles: [Tile], treeOf size: Int64) async throws -> [Tile: [MerkleHash]]
}

extension TileSource {
    /// The right edge that the tree had at `size` leaves; `nil` where tiles are missing.
    func edge(at size: Int64) async throws -> CompactRange? {
        let tiles = Tile.edge(ofTreeOf: size)
        let hashes = try await hashes(of: tiles.filter { $0.width(inTreeOf: size) > 0 }, treeOf: size)
        return CompactRange(size: size, bytes: MerkleHash.bytes(tiles.flatMap { hashes[$0] ?? [] }))
    }

    /// The hashes of ranges of the tree of `size` leaves, in the order of the ranges.
    /// - Throws: ``SealDamaged`` where tiles are missing.
    func hashes(of ranges: [TreeRange], treeOf size: Int64) async throws -> [MerkleHash] {
        let wanted: Set<Tile> = ranges.reduce(into: []) { $0.formUnion($1.tiles) }
        let tiles = try await hashes(of: wanted.sorted(), treeOf: size)
        return try ranges.map { range in
            guard let hash = range.hash({ tiles[$0] }) else {
                throw SealDamaged(
                    "tiles for the positions \(range.leaves.lowerBound + 1)–\(range.leaves.upperBound) are missing")
            }
            return hash
        }
    }

    /// The root that the tree had at `size` leaves.
    /// - Parameter whole: its size now.
    /// - Throws: ``SealDamaged`` where tiles are missing.
    func root(at size: Int64, treeOf whole: Int64) async throws -> MerkleHash {
        size == 0 ? .ofNothing : try await hashes(of: [TreeRange(treeOf: size)], treeOf: whole)[0]
    }
}

/// The tiles in the tables of the ledger: the full ones and the edge.
struct StoredTiles: TileSource {
    let connection: PostgresConnection
    let edge: CompactRange

    private static let select = """
        SELECT tile.level, tile.number, hashes
          FROM unnest($1::integer[], $2::bigint[]) AS wanted (level, number)
          JOIN seal_tiles AS tile ON tile.level = wanted.level AND tile.number = wanted.number
        """

    func hashes(of tiles: [Tile], treeOf size: Int64) async throws -> [Tile: [MerkleHash]] {
        var hashes: [Tile: [MerkleHash]] = [:]
        var full: [Tile] = []
        for tile in tiles {
            // A tile at the edge of a smaller tree may be full by now. It begins with the same
            // hashes.
            if let edge = edge.hashes(of: tile) { hashes[tile] = edge } else { full.append(tile) }
        }
        if !full.isEmpty {
            let rows = try await connection.query(Self.select, full.map { Int32($0.level) }, full.map(\.number))
            for row in rows {
                let bytes: PostgresBytes = try row.decode(2)
                hashes[Tile(level: try row.decode(0), number: try row.decode(1))] = MerkleHash.list(bytes.bytes)
            }
        }
        return hashes.compactMapValues { $0 }.cut(toTreeOf: size)
    }
}

extension [Tile: [MerkleHash]] {
    /// Cuts each tile to its width in a tree of `size` leaves, and leaves out those that have fewer
    /// hashes.
    func cut(toTreeOf size: Int64) -> [Tile: [MerkleHash]] {
        var cut: [Tile: [MerkleHash]] = [:]
        for (tile, hashes) in self {
            let width = tile.width(inTreeOf: size)
            if width > 0, hashes.count >= width { cut[tile] = Array(hashes.prefix(width)) }
        }
        return cut
    }
}
