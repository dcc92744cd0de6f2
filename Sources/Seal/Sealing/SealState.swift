import EventStore
package import LedgerCore
package import Postgres
package import TransparencyLog

/// The state of the seal in the tables of the ledger: the size of the tree, its right edge and the
/// last checkpoint.
package struct SealState: Sendable {
    package var epoch: EventID
    package var edge: CompactRange
    /// The last checkpoint, and the key that signed it; `nil` while nothing is sealed.
    package var last: (checkpoint: SignedCheckpoint, signer: ExactText)?
    /// Why the sealer has stopped; `nil` unless it has.
    package var stopped: String?

    /// The events up to this position are sealed.
    package var size: Position { edge.size }

    private static let statement = PostgresStatement(
        """
        SELECT epoch, coalesce(seal.size, 0) AS size, coalesce(edge, '') AS edge, stopped,
               last.size AS checkpoint_size, signer, note
          FROM ledger
          LEFT JOIN seal ON true
          LEFT JOIN LATERAL (SELECT size, signer, note FROM seal_checkpoints
                              ORDER BY size DESC, sealed_at DESC LIMIT 1) AS last ON true
        """, [])

    /// The values in the tables, whether or not they make sense.
    struct Stored {
        var epoch: EventID
        var size: Position
        var edge: [UInt8]
        var stopped: String?
        var checkpoint: (size: Position, signer: ExactText, note: String)?

        static func load(on connection: PostgresConnection) async throws -> Stored {
            let row = try await connection.query(statement).only()
            var stored = Stored(
                epoch: try row.decode("epoch"), size: try row.decode("size"),
                edge: try row.decode("edge", as: PostgresBytes.self).bytes,
                stopped: try row.decode("stopped"), checkpoint: nil)
            if let note = try row.decode("note", as: String?.self) {
                stored.checkpoint = (try row.decode("checkpoint_size"), try row.decode("signer"), note)
            }
            return stored
        }
    }

    /// - Throws: ``SealDamaged`` where the tables contradict each other.
    package static func load(on connection: PostgresConnection) async throws -> SealState {
        try SealState(try await Stored.load(on: connection))
    }

    init(_ stored: Stored) throws(SealDamaged) {
        guard let edge = CompactRange(size: stored.size, bytes: stored.edge) else {
            throw SealDamaged(
                "the table seal has \(stored.edge.count) bytes of hashes, which does not fit its size \(stored.size)")
        }
        (epoch, self.edge, stopped) = (stored.epoch, edge, stored.stopped)
        guard let kept = stored.checkpoint else {
            guard stored.size == 0 else {
                throw SealDamaged("\(stored.size) events are sealed, but there is no checkpoint of them")
            }
            return
        }
        let checkpoint = try Self.checkpoint(kept.note)
        guard kept.size == stored.size, checkpoint.head.size == stored.size else {
            throw SealDamaged("\(stored.size) events are sealed, but the last checkpoint is of \(checkpoint.head.size)")
        }
        guard checkpoint.head.root == edge.root else {
            throw SealDamaged(
                "the last checkpoint, of \(stored.size) events, has another root than the tree: "
                    + "one of them was altered")
        }
        last = (checkpoint, kept.signer)
    }

    private static func checkpoint(_ note: String) throws(SealDamaged) -> SignedCheckpoint {
        do {
            return try SignedCheckpoint(note)
        } catch {
            throw SealDamaged("the last checkpoint cannot be read: \(error)")
        }
    }
}

/// The tables of the seal, or the files of its tiles, are not what a sealer has written.
package struct SealDamaged: Error, Sendable, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

extension VerifierKey {
    /// The name of the key in the table of checkpoints: `NAME+ID`.
    var signer: ExactText { ExactText("\(self)".split(separator: "+", maxSplits: 2).prefix(2).joined(separator: "+")) }
}
