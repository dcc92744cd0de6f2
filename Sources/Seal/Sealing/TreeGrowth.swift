import LedgerCore
import Postgres
import TransparencyLog

/// A Merkle tree that events are added to.
struct TreeGrowth {
    var edge: CompactRange
    /// The tiles that have become full since they were last written to the ledger.
    var tiles: [(tile: Tile, hashes: [MerkleHash])] = []
    /// The hashes of the events that were added since the tiles were last written.
    var added: [MerkleHash] = []
    private var leaves = LeafReader()

    init(_ edge: CompactRange) { self.edge = edge }

    /// Adds the events after its end, up to `end` or the end of the log.
    /// - Parameter timeout: how long to wait for the first event; `nil` does not wait.
    /// - Throws: ``SealStopped`` where a position is missing.
    mutating func read(
        _ reader: PostgresConnection, upTo end: Position, timeout: Duration?, keepsTiles: Bool = true
    ) async throws {
        for try await chunk in reader.copyOut(LeafReader.script(after: edge.size, upTo: end, timeout: timeout)) {
            try leaves.read(chunk) { row in
                guard row.position == edge.size + 1 else {
                    throw SealStopped(
                        "there is no event at position \(edge.size + 1), and there is one at \(row.position): "
                            + "one was removed")
                }
                if keepsTiles { added.append(row.leaf) }
                edge.append(row.leaf) { if keepsTiles { tiles.append(($0, $1)) } }
            }
        }
    }
}
