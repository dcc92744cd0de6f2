package import LedgerCore
package import Postgres
import TransparencyLog

/// How far the log is sealed, for who only wants to look.
package struct SealStatus: Sendable {
    /// The events up to here are sealed.
    package var position: Position
    /// Whether a sealer holds the lease right now.
    package var isActive: Bool
    /// Why it does not go on.
    package var stopped: String?

    package static let statement = PostgresStatement(
        """
        SELECT coalesce((SELECT size FROM seal), 0), (SELECT stopped FROM seal),
               EXISTS (SELECT FROM leases WHERE name = $1 AND is_held(expires_at))
        """, [Sealer.lease])

    /// - Parameter row: of ``statement``.
    package init(_ row: PostgresRow) throws {
        position = try row.decode(0)
        stopped = try row.decode(1)
        isActive = try row.decode(2)
    }

    package static func load(on connection: PostgresConnection) async throws -> SealStatus {
        try SealStatus(try await connection.query(statement).only())
    }

    /// The log that the last checkpoint is of; `nil` where nothing is sealed.
    package static func lastOrigin(on connection: PostgresConnection) async throws -> ExactText? {
        let rows = try await connection.query(
            "SELECT note FROM seal_checkpoints ORDER BY size DESC, sealed_at DESC LIMIT 1")
        return try rows.first.map { try $0.decode(0, as: String.self) }.flatMap { try? SignedCheckpoint($0) }?.head
            .origin
    }
}
