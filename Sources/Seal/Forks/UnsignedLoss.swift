import LedgerCore
import Postgres
import TransparencyLog

/// That the ledger lost events of a checkpoint, as far as its epochs tell. No key has signed it, so
/// it explains a difference, and proves nothing.
struct UnsignedLoss: Sendable, CustomStringConvertible {
    private let origin: ExactText
    private let shared: Position
    private let size: Position

    /// `nil` where the name of the checkpoint's log has no epoch, or where no later epoch began
    /// within its events.
    init?(of head: TreeHead, on connection: PostgresConnection) async throws {
        guard let epoch = head.origin.text.split(separator: "/").last.flatMap({ EventID(text: String($0)) }) else {
            return nil
        }
        let row = try await connection.query(
            "SELECT shared_position($1, $2), EXISTS (SELECT FROM epochs WHERE epoch = $3)", epoch.text, head.size, epoch
        ).only()
        let (shared, isKnown): (Position, Bool) = (try row.decode(0), try row.decode(1))
        guard isKnown, shared < head.size else { return nil }
        (origin, self.shared, size) = (head.origin, shared, head.size)
    }

    var description: String {
        "the ledger has begun another epoch behind position \(shared): if the checkpoint is older, a failover or a "
            + "restore lost its events \(shared + 1)–\(size), and the key of \(origin) can sign that "
            + "(jobledger audit seal --after-loss)"
    }
}
