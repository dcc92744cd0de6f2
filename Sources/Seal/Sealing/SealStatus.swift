package import LedgerCore
package import Postgres
import TransparencyLog

/// How far the log is sealed, as `status` and monitoring show it.
package struct SealStatus: Sendable {
    /// The events up to this position are sealed.
    package var position: Position
    /// Whether a sealer holds the lease at present.
    package var isActive: Bool
    /// Why the sealer has stopped; `nil` unless it has.
    package var stopped: String?

    package static let statement = PostgresStatement(
        """
        SELECT coalesce((SELECT size FROM seal), 0), (SELECT stopped FROM seal),
               EXISTS (SELECT FROM leases WHERE name = $1 AND is_held(expires_at))
        """, [Sealer.lease])

    /// - Parameter row: the answer to ``statement``.
    package init(_ row: PostgresRow) throws {
        position = try row.decode(0)
        stopped = try row.decode(1)
        isActive = try row.decode(2)
    }

    package static func load(on connection: PostgresConnection) async throws -> SealStatus {
        try SealStatus(try await connection.query(statement).only())
    }

    /// The name of the log that the last checkpoint is of.
    /// - Returns: `nil` where nothing is sealed, and where the last checkpoint cannot be read: then
    ///   the sealer stops and says so.
    package static func lastOrigin(on connection: PostgresConnection) async throws -> ExactText? {
        let rows = try await connection.query(
            "SELECT note FROM seal_checkpoints ORDER BY size DESC, sealed_at DESC LIMIT 1")
        guard let note = try rows.first?.decode(0, as: String.self) else { return nil }
        return try? SignedCheckpoint(note).head.origin
    }
}
