import LedgerCore
import Postgres

/// Compares the record of who holds which value with the log.
enum ClaimCheck {
    /// The most differences that are reported.
    private static let most = 1000

    /// - Returns: what differs. The position is that of the event that made a claim, or the head
    ///   where no event has made it.
    static func findings(head: Position, on connection: PostgresConnection) async throws
        -> [SealVerification.Finding]
    {
        try await connection.query(
            """
            SELECT coalesce(at_position, $1), CASE
                     WHEN held_by IS NULL THEN format(
                       'the %s %s is kept as the holder of "%s" %s, which it is not by the log', category,
                       to_json(kept_for), key, to_json(value))
                     WHEN kept_for IS NULL THEN format(
                       'the %s %s holds "%s" %s by the log, and that is not kept', category, to_json(held_by), key,
                       to_json(value))
                     ELSE format(
                       'the %s %s holds "%s" %s by the log, and %s is kept as the holder', category,
                       to_json(held_by), key, to_json(value), to_json(kept_for))
                   END
              FROM claim_differences() LIMIT \(most)
            """, max(1, head)
        ).map { row in
            let position: Position = try row.decode(0)
            return .init(kind: .claim, positions: position...position, message: try row.decode(1))
        }
    }
}
