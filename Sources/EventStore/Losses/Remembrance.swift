package import LedgerCore
import Postgres

/// What the log has of an event that somebody remembers.
package enum Remembrance: Sendable, Equatable {
    /// The event is in the log, at this position. It may be another than the remembered one, if it
    /// was lost and appended again.
    case there(Position)
    /// The event is not in the log. At its position there is this event now, or none.
    case gone(inPlace: EventID?)
}

extension EventStore {
    /// Each event is found by its id, and each position by its number, so the cost does not depend
    /// on the length of the log.
    private static let remembranceStatement = """
        SELECT (SELECT position FROM events WHERE event_id = remembered.event_id),
               (SELECT event_id FROM events WHERE position = remembered.position)
          FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS remembered (event_id, position, ordinal)
         ORDER BY remembered.ordinal
        """

    /// Looks for remembered events in the log, all in one snapshot.
    /// - Returns: what there is of each, in order.
    package func look(for events: [RememberedEvent]) async throws -> [Remembrance] {
        guard !events.isEmpty else { return [] }
        return try await pool.withConnection { connection in
            try await connection.query(Self.remembranceStatement, events.map(\.id), events.map { $0.position ?? 0 })
                .map { row in
                    if let position = try row.decode(0, as: Position?.self) { return .there(position) }
                    return .gone(inPlace: try row.decode(1))
                }
        }
    }
}
