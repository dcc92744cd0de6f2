import LedgerCore
import Postgres
import TransparencyLog

/// What a verification holds the events against: the last checkpoint that is what it says, and the
/// tiles of its tree.
struct TrustedTree: Sendable {
    var source: any TileSource
    var edge: CompactRange
    /// Whether the edge has the root of a checkpoint, signed by the key where one is given.
    var isTrusted: Bool
    /// What is wrong with the checkpoints and the edge.
    var findings: [SealVerification.Finding] = []

    /// How many checkpoints are tried until one is what it says.
    private static let maxTried = 100

    /// That of the ledger's tables.
    init(on connection: PostgresConnection, reading reader: PostgresConnection, key: VerifierKey?) async throws {
        let stored = try await SealState.Stored.load(on: connection)
        do {
            let state = try SealState(stored)
            (edge, source) = (state.edge, StoredTiles(connection: connection, edge: state.edge))
            guard let last = state.last else {
                isTrusted = true
                let head: Position = try await connection.query("SELECT head()").only().decode(0)
                if head > 0 {
                    report(
                        .checkpoint, 0,
                        "nothing is sealed: there is nothing to hold the \(head) events against (jobledger audit seal)")
                }
                return
            }
            if let key { try last.checkpoint.verify(by: key) }
            isTrusted = true
            return
        } catch  where error is SealDamaged || error is SignedCheckpoint.NotSigned {
            edge = CompactRange(size: stored.size, bytes: stored.edge) ?? CompactRange()
            (source, isTrusted) = (StoredTiles(connection: connection, edge: edge), false)
            report(.checkpoint, stored.size, "\(error)")
        }
        try await fallBack(on: connection, reading: reader, key: key)
    }

    /// That of a directory.
    init(_ directory: TileDirectory, key: VerifierKey?) async throws {
        source = directory
        let checkpoint = try directory.checkpoint()
        if let key {
            do {
                try checkpoint.verify(by: key)
            } catch {
                throw SealDamaged("\(directory.path): \(error)")
            }
        }
        guard let edge = try await directory.edge(at: checkpoint.head.size), edge.root == checkpoint.head.root else {
            throw SealDamaged(
                "\(directory.path): the tiles do not have the root of the checkpoint, or some are missing")
        }
        (self.edge, isTrusted) = (edge, true)
    }

    private mutating func report(_ kind: SealVerification.Finding.Kind, _ position: Position, _ message: String) {
        findings.append(.init(kind: kind, positions: position...position, message: message))
    }

    /// Takes the newest checkpoint that is what it says, and whose tree can be had: from its tiles,
    /// or else from the events themselves.
    private mutating func fallBack(
        on connection: PostgresConnection, reading reader: PostgresConnection, key: VerifierKey?
    ) async throws {
        let rows = try await connection.query(
            "SELECT note FROM seal_checkpoints ORDER BY size DESC, sealed_at DESC LIMIT $1", Self.maxTried)
        for row in rows {
            guard let checkpoint = try? SignedCheckpoint(try row.decode(0, as: String.self)) else { continue }
            if let key, (try? checkpoint.verify(by: key)) == nil { continue }
            let head = checkpoint.head
            if let edge = try await source.edge(at: head.size), edge.root == head.root {
                (self.edge, isTrusted) = (edge, true)
                return report(
                    .checkpoint, head.size,
                    "the events up to here are held against the checkpoint of \(head.size), which is sound")
            }
            if let edge = try await edgeFromEvents(at: head.size, reading: reader), edge.root == head.root {
                (self.edge, isTrusted) = (edge, true)
                source = StoredTiles(connection: connection, edge: edge)
                return report(
                    .checkpoint, head.size,
                    "the hashes at the edge of the tree were altered; the events themselves give what was signed")
            }
        }
        report(
            .checkpoint, 0,
            rows.isEmpty
                ? "there is no checkpoint"
                : "no checkpoint of the last \(rows.count) has a signature and a root that hold")
    }

    /// The edge of a tree made anew: the leaves from the events, all else from the full tiles.
    private func edgeFromEvents(at size: Position, reading reader: PostgresConnection) async throws -> CompactRange? {
        var hashes: [MerkleHash] = []
        var leaves = LeafReader()
        for try await chunk in reader.copyOut(LeafReader.script(after: size & ~255, upTo: size)) {
            try leaves.read(chunk) { hashes.append($0.leaf) }
        }
        for tile in Tile.edge(ofTreeOf: size).dropFirst() {
            let children = tile.children(tile.width(inTreeOf: size))
            let below = try await source.hashes(of: children, treeOf: size)
            hashes += children.compactMap { below[$0].map(MerkleHash.root(ofFullTile:)) }
        }
        return CompactRange(size: size, bytes: MerkleHash.bytes(hashes))
    }
}
