import EventStore
import LedgerCore
import Postgres
import TransparencyLog

/// The Merkle tree over the log as the ledger keeps it, for whoever wants hashes or proofs.
public struct SealedTree: Sendable {
    let connection: PostgresConnection

    public init(on connection: PostgresConnection) { self.connection = connection }

    /// Hashes of tiles, as many of each as the tree has now; tiles that it does not have are left out.
    func hashes(of tiles: Set<Tile>, _ edge: TreeEdge) async throws -> [Tile: [MerkleHash]] {
        var hashes: [Tile: [MerkleHash]] = [:]
        var full: [Tile] = []
        for tile in tiles {
            if tile.width(inTreeOf: edge.size) == Tile.width { full.append(tile) } else { hashes[tile] = edge.hashes(of: tile) }
        }
        guard !full.isEmpty else { return hashes }
        let rows = try await connection.query(
            """
            SELECT tile.level, tile.number, hashes
              FROM unnest($1::integer[], $2::bigint[]) AS wanted (level, number)
              JOIN seal_tiles AS tile ON tile.level = wanted.level AND tile.number = wanted.number
            """, full.map { Int32($0.level) }, full.map(\.number))
        for row in rows {
            hashes[Tile(level: try row.decode(0), number: try row.decode(1))] = MerkleHash.list(
                try row.decode(2, as: PostgresBytes.self).bytes)
        }
        return hashes
    }

    /// The hashes of stretches of the tree, in their order.
    func hashes(of ranges: [TreeRange], _ edge: TreeEdge) async throws -> [MerkleHash] {
        let tiles = try await hashes(of: ranges.reduce(into: []) { $0.formUnion($1.tiles) }, edge)
        return try ranges.map { range in
            guard let hash = range.hash({ tiles[$0] }) else {
                throw SealDamaged(
                    "tiles are missing that the positions \(range.leaves.lowerBound + 1)–\(range.leaves.upperBound) need")
            }
            return hash
        }
    }

    /// The root of the tree when it had `size` leaves.
    func root(at size: Position, _ edge: TreeEdge) async throws -> MerkleHash {
        size == 0 ? .ofNothing : try await hashes(of: [TreeRange(treeOf: size)], edge)[0]
    }
}
