package import LedgerCore
package import Postgres

/// A loss that the ledger knows of, because a reader had come further than what the log shares with
/// its history: a row of the view `known_losses`.
package struct KnownLoss: Sendable, Equatable {
    /// Who had the events: `relay`, `feed`, `sealer`, or `subscription NAME`.
    package var reader: String
    /// How far the reader had come.
    package var place: Place
    /// The last position, at most the place's, that the log shares with the reader's history.
    package var shared: Position
    package var notedAt: Timestamp

    package init(reader: String, place: Place, shared: Position, notedAt: Timestamp) {
        self.reader = reader
        self.place = place
        self.shared = shared
        self.notedAt = notedAt
    }

    /// The positions that the reader had and whose events are gone.
    package var positions: ClosedRange<Position> { shared + 1...place.position }

    /// The most losses that are returned, the newest first.
    package static let most = 1000

    package static let statement = PostgresStatement(
        """
        SELECT reader, epoch, position, shared, noted_at FROM known_losses
         ORDER BY noted_at DESC, reader, position LIMIT $1
        """, [Int64(most)])

    package init(_ row: PostgresRow) throws(PostgresError) {
        reader = try row.decode(0)
        place = Place(try row.decode(2), epoch: EpochDigits(try row.decode(1, as: EventID.self)))
        shared = try row.decode(3)
        notedAt = Timestamp(try row.decode(4, as: PostgresTimestamp.self))
    }

    /// How many events are gone, as far as it is known. Readers of one epoch had the same events,
    /// so each epoch counts once.
    package static func count(_ losses: [KnownLoss]) -> Int64 {
        var byEpoch: [EpochDigits?: (shared: Position, last: Position)] = [:]
        for loss in losses {
            let known = byEpoch[loss.place.epoch] ?? (loss.shared, loss.place.position)
            byEpoch[loss.place.epoch] = (min(known.shared, loss.shared), max(known.last, loss.place.position))
        }
        return byEpoch.values.reduce(0) { $0 + $1.last - $1.shared }
    }
}

extension EventStore {
    /// The losses that the ledger knows of, the newest first.
    package func knownLosses() async throws -> [KnownLoss] {
        try await pool.withConnection { try await $0.query(KnownLoss.statement).map { try KnownLoss($0) } }
    }

    /// The last position, at most the place's, that the log shares with the history of a reader who
    /// has come to this place.
    package func sharedPosition(of place: Place) async throws -> Position {
        try await pool.withConnection { try await $0.query(place.sharedPosition).only().decode(0) }
    }
}

extension PostgresConnection {
    /// Notes that a reader had come to a place, where the log does not share all of it.
    /// - Returns: the last position that the log shares.
    package func noteLoss(by reader: String, _ place: Place) async throws -> Position {
        try await query("SELECT note_loss($1, $2, $3)", reader, place.epoch?.text, place.position).only().decode(0)
    }
}
