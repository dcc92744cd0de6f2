import LedgerCore
import Postgres
import TransparencyLog

/// A tree that takes in events.
struct TreeGrowth {
    var edge: CompactRange
    /// Those that are full since they were last kept.
    var tiles: [(tile: Tile, hashes: [MerkleHash])] = []
    private var leaves = LeafReader()

    init(_ edge: CompactRange) { self.edge = edge }

    /// Takes in the events behind its end, up to a position or to the end of the log.
    mutating func read(
        _ reader: PostgresConnection, upTo end: Position, timeout: Duration?, keepsTiles: Bool = true
    ) async throws {
        for try await chunk in reader.copyOut(LeafReader.script(after: edge.size, upTo: end, timeout: timeout)) {
            try leaves.read(chunk) { row in
                guard row.position == edge.size + 1 else {
                    throw SealStopped(
                        "there is no event at position \(edge.size + 1), and there is one at \(row.position): one was removed"
                    )
                }
                edge.append(row.leaf) { if keepsTiles { tiles.append(($0, $1)) } }
            }
        }
    }
}
