package import LedgerCore
package import Postgres

extension Place {
    /// Asks for the last position, at most this place's, that its history shares with the log.
    package var sharedPosition: PostgresStatement {
        PostgresStatement("SELECT shared_position($1, $2)", [epoch?.text, position])
    }
}

extension EventStore {
    /// - Throws: ``/LedgerCore/Divergence`` where the log does not have all that a reader has who
    ///   has come to this place.
    package func requireShared(_ place: Place) async throws {
        let shared: Position = try await pool.withConnection {
            try await $0.query(place.sharedPosition).only().decode(0)
        }
        guard shared < place.position else { return }
        let log = try await logHead()
        throw Divergence(place: place, shared: Place(shared, epoch: EpochDigits(log.epoch)), head: log.position)
    }
}
