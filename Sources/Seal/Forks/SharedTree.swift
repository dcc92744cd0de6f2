import LedgerCore
import Postgres
import TransparencyLog

/// The tree over the events that a lost history and the log share, and the lost tree, as far as its
/// leaves are known.
struct SharedTree {
    private let shared: CompactRange
    /// The lost tree at the size that was signed; `nil` where its leaves are not known.
    private var ended: CompactRange?
    /// The tiles that became full on the way from the sealed tree.
    private var tiles: [Tile: [MerkleHash]] = [:]
    private let connection: PostgresConnection

    /// - Parameters:
    ///   - head: what was signed.
    ///   - position: the events up to here are shared.
    ///   - edge: of the tree in the ledger, at most that of the shared events.
    ///   - leaves: the leaves from there to the end of what was signed; `nil` if they are not
    ///     known.
    /// - Throws: ``SealStopped`` where an event is missing.
    init(
        _ head: TreeHead, shared position: Position, from edge: CompactRange, leaves: [MerkleHash]?,
        on connection: PostgresConnection, reading reader: PostgresConnection
    ) async throws {
        self.connection = connection
        var growth = TreeGrowth(edge)
        try await growth.read(reader, upTo: position, timeout: nil)
        guard growth.edge.size == position else {
            throw SealStopped(
                "the log ends at position \(growth.edge.size), before position \(position), up to which it should be "
                    + "what was sealed")
        }
        shared = growth.edge
        for (tile, hashes) in growth.tiles { tiles[tile] = hashes }
        guard let leaves else { return }
        var grown = growth.edge
        var filled: [Tile: [MerkleHash]] = [:]
        for leaf in leaves { grown.append(leaf) { filled[$0] = $1 } }
        ended = grown
        tiles.merge(filled) { $1 }
    }

    /// Whether the lost tree, where it is known, is what was signed.
    func isSame(as head: TreeHead) -> Bool { ended.map { $0.size == head.size && $0.root == head.root } ?? true }

    /// What can be said of the shared events.
    struct Proved {
        var shared: Position
        var root: MerkleHash
        var proof: ConsistencyProof?
    }

    /// The proof that the shared tree is the beginning of the lost one. Where the lost leaves are
    /// not known, the largest tree that the key has signed, and that is left, is the beginning of
    /// both, because a key signs no second history.
    func proof(of key: VerifierKey) async throws -> Proved {
        guard let ended else { return try await signedBefore(by: key) }
        let source = KnownTiles(tiles: tiles, stored: StoredTiles(connection: connection, edge: ended))
        let hashes = try await source.hashes(
            of: ConsistencyProof.ranges(old: shared.size, new: ended.size), treeOf: ended.size)
        return Proved(shared: shared.size, root: shared.root, proof: ConsistencyProof(hashes: hashes))
    }

    private func signedBefore(by key: VerifierKey) async throws -> Proved {
        let rows = try await connection.query(
            """
            SELECT note FROM seal_checkpoints WHERE signer = $1 AND size <= $2
             ORDER BY size DESC, sealed_at DESC LIMIT 1
            """, key.signer, shared.size)
        guard let note = try rows.first?.decode(0, as: String.self) else { return Proved(shared: 0, root: .ofNothing) }
        do {
            let checkpoint = try SignedCheckpoint(note)
            try checkpoint.verify(by: key)
            let size = checkpoint.head.size
            let source = KnownTiles(tiles: tiles, stored: StoredTiles(connection: connection, edge: shared))
            guard try await source.root(at: size, treeOf: shared.size) == checkpoint.head.root else {
                throw SealStopped(
                    "the first \(size) events are not those that the key \(key.name) has signed: the history was "
                        + "rewritten")
            }
            return Proved(shared: size, root: checkpoint.head.root)
        } catch let error as Malformed {
            throw SealStopped("a checkpoint of \(key.name) cannot be read: \(error)")
        } catch let error as SignedCheckpoint.NotSigned {
            throw SealStopped("\(error), though it says so: it was altered")
        }
    }
}

/// Tiles that are known here, and those in the tables of the ledger.
private struct KnownTiles: TileSource {
    let tiles: [Tile: [MerkleHash]]
    let stored: StoredTiles

    func hashes(of tiles: [Tile], treeOf size: Int64) async throws -> [Tile: [MerkleHash]] {
        let known = self.tiles.filter { tiles.contains($0.key) }
        let rest = tiles.filter { known[$0] == nil }
        return known.cut(toTreeOf: size).merging(try await stored.hashes(of: rest, treeOf: size)) { known, _ in known }
    }
}
