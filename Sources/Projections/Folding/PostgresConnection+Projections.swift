import Foundation
import LedgerCore
import Postgres

extension PostgresConnection {
    /// Makes the server check every half second, while a statement runs, whether its client still
    /// exists. The statement of a killed process then ends, and its successor need not wait for the
    /// locks.
    func endStatementsOfLostClients() async throws {
        try await execute(
            script: """
                DO $$ BEGIN
                  SET client_connection_check_interval = '500ms';
                EXCEPTION WHEN invalid_parameter_value THEN
                  NULL;  -- this platform cannot check; the server notices at the end of the statement
                END $$
                """)
    }

    /// Runs `body` on a further connection with the same configuration, and closes that.
    /// - Parameter silence: how long a statement may run without an answer; that of this connection
    ///   unless given.
    nonisolated func withAnother<T: Sendable>(
        silence: Duration? = nil, _ body: (PostgresConnection) async throws -> T
    ) async throws -> T {
        let other = try await another(silence: silence)
        do {
            let result = try await body(other)
            await other.close()
            return result
        } catch {
            await other.close()
            throw error
        }
    }

    /// The id of the event at a position.
    nonisolated func eventID(at position: Position) async throws -> UUID? {
        try await query("SELECT event_id FROM events WHERE position = $1", position).first.map { try $0.decode(0) }
    }
}
