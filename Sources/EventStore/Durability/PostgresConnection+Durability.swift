import BlockingIO
package import LedgerCore
package import Postgres

extension PostgresConnection {
    /// The end of the log, once everything up to there has the level that the ledger demands.
    /// - Throws: ``NotConfirmed`` where the standbys do not answer within `patience`.
    package nonisolated func durableHead(patience: Duration = .seconds(5)) async throws -> Position {
        try await withTimeLimit(patience, orThrow: NotConfirmed(waited: patience)) {
            try await self.query("SELECT durable_position()").only().decode(0)
        }
    }

    /// The end of the log, once there are events after `position` that have the level that the
    /// ledger demands, or after a fifth of a second.
    /// - Parameter interval: how often the server looks for events.
    /// - Throws: ``NotConfirmed`` where the standbys do not answer within `patience`.
    package nonisolated func awaitDurableEvents(
        after position: Position, every interval: Duration, patience: Duration = .seconds(5)
    ) async throws -> Position {
        try await withTimeLimit(patience, orThrow: NotConfirmed(waited: patience)) {
            try await self.query(
                "SELECT await_durable_events($1, '200 ms', make_interval(secs => $2))", position,
                interval / .seconds(1)
            ).only().decode(0)
        }
    }

    /// Where the log ends, once all of it has reached the level quorum.
    /// - Throws: ``NotConfirmed`` where the standbys do not answer within `patience`.
    nonisolated func quorumHead(patience: Duration) async throws -> Place {
        try await withTimeLimit(patience, orThrow: NotConfirmed(waited: patience)) {
            let text: String = try await self.query("SELECT durable_place('quorum')").only().decode(0)
            guard let place = Place(text) else { throw PostgresError.unexpected("\(text) is no place") }
            return place
        }
    }
}
