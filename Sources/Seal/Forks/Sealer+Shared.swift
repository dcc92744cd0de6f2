import LedgerCore
import Postgres
import TransparencyLog

extension Sealer {
    /// How many of the events that a key has signed the log still has.
    ///
    /// The epoch tells. If the ledger does not know it, because it was lost with the server that
    /// began it, the events that are left are compared with the hashes that the sealer kept.
    func shared(
        with ended: EndedSeal, _ signed: SealerRecord.Content, on connection: PostgresConnection,
        reading reader: PostgresConnection
    ) async throws -> Position {
        let size = signed.checkpoint.head.size
        let row = try await connection.query(
            "SELECT shared_position($1, $2), EXISTS (SELECT FROM epochs WHERE epoch::text = $1)", signed.epoch.text,
            size
        ).only()
        let isKnown: Bool = try row.decode(1)
        guard !isKnown, let kept = try await ended.record.keptLeaves() else { return try row.decode(0) }
        var leaves = LeafReader()
        var (same, isSame) = (kept.after, true)
        for try await chunk in reader.copyOut(LeafReader.script(after: kept.after, upTo: size)) where isSame {
            try leaves.read(chunk) { row in
                let number = Int(same - kept.after)
                isSame =
                    isSame && row.position == same + 1 && number < kept.leaves.count
                    && row.leaf == kept.leaves[number]
                if isSame { same += 1 }
            }
        }
        // Of what came before the hashes nothing is known.
        return same > kept.after ? same : 0
    }
}
