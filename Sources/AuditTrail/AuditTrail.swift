import EventStore
import LedgerCore
import Postgres

/// Who did what, when and why: questions to the read model `audit_log`.
public struct AuditTrail: Sendable {
    let store: EventStore

    public static let projection = "audit_log"

    public init(_ store: EventStore) { self.store = store }

    /// Entries, and the position up to which the read model has come.
    public struct Page: Sendable {
        public var position: Position
        public var entries: [TrailEntry]
    }

    /// The read model is not there yet.
    public struct NotProjected: Error, Sendable, CustomStringConvertible {
        public let description =
            "the read model audit_log is not there yet: jobledger project makes it, and `jobledger up` runs that"
    }

    public func page(_ query: TrailQuery) async throws -> Page {
        try await withTrail { connection, position in
            Page(position: position, entries: try await connection.query(query.statement).map { try TrailEntry($0) })
        }
    }

    /// Runs `body` with a connection that reads one snapshot, and the position of the read model in it.
    func withTrail<Value: Sendable>(
        _ body: (PostgresConnection, Position) async throws -> Value
    ) async throws -> Value {
        do {
            return try await store.pool.withConnection { connection in
                try await connection.transaction(.repeatableRead, readOnly: true) { connection in
                    let position = try await connection.query(
                        "SELECT coalesce((SELECT position FROM projections WHERE name = $1), 0)", Self.projection
                    ).only().decode(0, as: Position.self)
                    return try await body(connection, position)
                }
            }
        } catch SQLState.undefinedTable {
            throw NotProjected()
        }
    }
}
