import Foundation
import LedgerCore
import Postgres
import TransparencyLog

/// Where tiles come from: the ledger's tables, or a directory to which they were written.
protocol TileSource: Sendable {
    /// As many hashes of each tile as a tree of `size` leaves has; tiles that are not there, or not
    /// whole, are left out.
    func hashes(of tiles: [Tile], treeOf size: Int64) async throws -> [Tile: [MerkleHash]]
}

extension TileSource {
    /// The right edge of the tree when it had `size` leaves; `nil` where tiles are missing.
    func edge(at size: Int64) async throws -> CompactRange? {
        let tiles = Tile.edge(ofTreeOf: size)
        let hashes = try await hashes(of: tiles.filter { $0.width(inTreeOf: size) > 0 }, treeOf: size)
        return CompactRange(size: size, bytes: MerkleHash.bytes(tiles.flatMap { hashes[$0] ?? [] }))
    }

    /// The hashes of stretches of the tree of `size` leaves, in their order.
    /// - Throws: ``SealDamaged`` where tiles are missing.
    func hashes(of ranges: [TreeRange], treeOf size: Int64) async throws -> [MerkleHash] {
        let wanted: Set<Tile> = ranges.reduce(into: []) { $0.formUnion($1.tiles) }
        let tiles = try await hashes(of: wanted.sorted(), treeOf: size)
        return try ranges.map { range in
            guard let hash = range.hash({ tiles[$0] }) else {
                throw SealDamaged(
                    "tiles are missing that the positions \(range.leaves.lowerBound + 1)–\(range.leaves.upperBound) need"
                )
            }
            return hash
        }
    }

    /// The root of the tree when it had `size` leaves.
    /// - Throws: ``SealDamaged`` where tiles are missing.
    func root(at size: Int64, treeOf whole: Int64) async throws -> MerkleHash {
        size == 0 ? .ofNothing : try await hashes(of: [TreeRange(treeOf: size)], treeOf: whole)[0]
    }
}

/// The tiles in the ledger's tables: those that are full, and the edge.
struct StoredTiles: TileSource {
    let connection: PostgresConnection
    let edge: CompactRange

    func hashes(of tiles: [Tile], treeOf size: Int64) async throws -> [Tile: [MerkleHash]] {
        var hashes: [Tile: [MerkleHash]] = [:]
        var full: [Tile] = []
        for tile in tiles {
            // What was at the edge of a smaller tree may be full by now, and begins as it did.
            if let edge = edge.hashes(of: tile) { hashes[tile] = edge } else { full.append(tile) }
        }
        if !full.isEmpty {
            let rows = try await connection.query(
                """
                SELECT tile.level, tile.number, hashes
                  FROM unnest($1::integer[], $2::bigint[]) AS wanted (level, number)
                  JOIN seal_tiles AS tile ON tile.level = wanted.level AND tile.number = wanted.number
                """, full.map { Int32($0.level) }, full.map(\.number))
            for row in rows {
                let bytes: PostgresBytes = try row.decode(2)
                hashes[Tile(level: try row.decode(0), number: try row.decode(1))] = MerkleHash.list(bytes.bytes)
            }
        }
        return hashes.compactMapValues { $0 }.cut(toTreeOf: size)
    }
}

extension [Tile: [MerkleHash]] {
    /// Without what lies beyond a tree of `size` leaves, and without what it lacks.
    func cut(toTreeOf size: Int64) -> [Tile: [MerkleHash]] {
        var cut: [Tile: [MerkleHash]] = [:]
        for (tile, hashes) in self {
            let width = tile.width(inTreeOf: size)
            if width > 0, hashes.count >= width { cut[tile] = Array(hashes.prefix(width)) }
        }
        return cut
    }
}
