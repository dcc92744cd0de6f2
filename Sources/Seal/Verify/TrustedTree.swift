import EventStore
import LedgerCore
import Postgres
import TransparencyLog

/// The tree against which a verification checks the events: that of the last valid checkpoint.
struct TrustedTree: Sendable {
    var source: any TileSource
    var edge: CompactRange
    /// Whether the edge has the root of a checkpoint that the key has signed. Without a key, any
    /// checkpoint will do.
    var isTrusted: Bool
    /// What is wrong with the checkpoints and the edge in the tables.
    var findings: [SealVerification.Finding] = []

    /// The most checkpoints that are tried, from the newest on, to find a valid one.
    private static let maxTried = 100

    /// The tree in the tables of the ledger.
    /// - Parameter keys: one of them must have signed; none if no signature is checked.
    init(on connection: PostgresConnection, reading reader: PostgresConnection, keys: [VerifierKey]) async throws {
        let stored = try await SealState.Stored.load(on: connection)
        do {
            let state = try SealState(stored)
            (edge, source) = (state.edge, StoredTiles(connection: connection, edge: state.edge))
            guard let last = state.last else {
                isTrusted = true
                let head = try await connection.headOfLog()
                if head > 0 {
                    report(
                        .checkpoint, 0,
                        "nothing is sealed: there is nothing to check the \(head) events against (jobledger audit seal)"
                    )
                }
                return
            }
            try last.checkpoint.verify(byOneOf: keys)
            isTrusted = true
            return
        } catch  where error is SealDamaged || error is SignedCheckpoint.NotSigned {
            edge = CompactRange(size: stored.size, bytes: stored.edge) ?? CompactRange()
            (source, isTrusted) = (StoredTiles(connection: connection, edge: edge), false)
            report(.checkpoint, stored.size, "\(error)")
        }
        try await fallBack(on: connection, reading: reader, keys: keys)
    }

    /// The tree in a directory.
    /// - Parameter keys: one of them must have signed; none if no signature is checked.
    /// - Throws: ``SealDamaged`` where there is no checkpoint, or none that a key has signed, or
    ///   where the tiles do not have its root; `FileFailure` where a file cannot be read.
    init(_ directory: TileDirectory, keys: [VerifierKey]) async throws {
        source = directory
        let checkpoint = try directory.checkpoint()
        do {
            try checkpoint.verify(byOneOf: keys)
        } catch {
            throw SealDamaged("\(directory.path): \(error)")
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

    /// Takes the newest valid checkpoint whose tree is in the tiles, or follows from the events.
    private mutating func fallBack(
        on connection: PostgresConnection, reading reader: PostgresConnection, keys: [VerifierKey]
    ) async throws {
        let rows = try await connection.query(
            "SELECT note FROM seal_checkpoints ORDER BY size DESC, sealed_at DESC LIMIT $1", Self.maxTried)
        for row in rows {
            // The checkpoints that are skipped here are part of the finding at the end.
            guard let head = Self.validHead(try row.decode(0), keys) else { continue }
            if let edge = try await source.edge(at: head.size), edge.root == head.root {
                (self.edge, isTrusted) = (edge, true)
                return report(
                    .checkpoint, head.size,
                    "the events up to here are checked against the checkpoint of \(head.size), which is valid")
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
                : "none of the last \(rows.count) checkpoints has a valid signature and the root of the tree")
    }

    /// - Returns: `nil` where the text is not a checkpoint, or not one that the key has signed.
    private static func validHead(_ note: String, _ keys: [VerifierKey]) -> TreeHead? {
        do {
            let checkpoint = try SignedCheckpoint(note)
            try checkpoint.verify(byOneOf: keys)
            return checkpoint.head
        } catch {
            return nil
        }
    }

    /// Computes the edge of the tree: its leaves from the events, everything else from full tiles.
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
