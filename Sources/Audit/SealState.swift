import EventStore
import LedgerCore
import Postgres
import TransparencyLog

/// What the ledger keeps of its seal: how far the tree has grown, its right edge, and the last checkpoint.
public struct SealState: Sendable {
    public var epoch: EventID
    public var edge: TreeEdge
    /// The last checkpoint, and the key that signed it; `nil` while nothing is sealed.
    public var last: (checkpoint: SignedCheckpoint, signer: String)?
    /// Why the sealer does not go on.
    public var stopped: String?

    /// The events up to here are sealed.
    public var size: Position { edge.size }

    private static let statement = PostgresStatement(
        """
        SELECT epoch, seal.size, edge, stopped, last.size AS checkpoint_size, signer, note
          FROM ledger, seal
          LEFT JOIN LATERAL (SELECT size, signer, note FROM seal_checkpoints ORDER BY size DESC, sealed_at DESC LIMIT 1) AS last ON true
        """, [])

    /// - Throws: ``SealDamaged`` where the tables contradict each other.
    public static func load(on connection: PostgresConnection) async throws -> SealState {
        let row = try await connection.query(statement).only()
        let size: Position = try row.decode("size")
        let bytes: PostgresBytes = try row.decode("edge")
        guard let edge = TreeEdge(size: size, bytes: bytes.bytes) else {
            throw SealDamaged("the table seal has \(bytes.bytes.count) bytes of hashes, which does not fit its size \(size)")
        }
        var state = SealState(epoch: try row.decode("epoch"), edge: edge, last: nil, stopped: try row.decode("stopped"))
        guard let note = try row.decode("note", as: String?.self) else {
            guard size == 0 else { throw SealDamaged("\(size) events are sealed, and there is no checkpoint of them") }
            return state
        }
        let (checkpoint, signer) = (try Self.checkpoint(note), try row.decode("signer", as: String.self))
        guard try row.decode("checkpoint_size", as: Position.self) == size, checkpoint.head.size == size else {
            throw SealDamaged("\(size) events are sealed, and the last checkpoint is of \(checkpoint.head.size)")
        }
        guard checkpoint.head.root == edge.root else {
            throw SealDamaged("the last checkpoint, of \(size) events, has another root than the tree: one of them was altered")
        }
        state.last = (checkpoint, signer)
        return state
    }

    private static func checkpoint(_ note: String) throws(SealDamaged) -> SignedCheckpoint {
        do {
            return try SignedCheckpoint(note)
        } catch {
            throw SealDamaged("the last checkpoint cannot be read: \(error)")
        }
    }
}

/// The tables of the seal are not what a sealer has written.
public struct SealDamaged: Error, Sendable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

extension VerifierKey {
    /// How the table of checkpoints names the key.
    var signer: String { String("\(self)".split(separator: "+", maxSplits: 2).prefix(2).joined(separator: "+")) }
}
