package import EventStore
package import LedgerCore
import Postgres

/// Who did what, when and why: questions to the read model `audit_log`.
package struct AuditTrail: Sendable {
    let store: EventStore

    package static let projection = "audit_log"

    package init(_ store: EventStore) { self.store = store }

    /// Entries, and the position up to which the read model has come.
    package struct Page: Sendable {
        package var position: Position
        package var entries: [TrailEntry]
        /// Whether it ended early, for what its entries hold: there are more behind the last.
        package var isCut = false
    }

    /// About how many bytes of texts an answer may have over HTTP. Metadata that events bring may
    /// be large.
    package static let mostBytes = 4 << 20

    /// The read model is not there yet.
    package struct NotProjected: Error, Sendable, CustomStringConvertible {
        package let description =
            "the read model audit_log is not there yet: jobledger project makes it, and `jobledger up` runs that"
    }

    /// - Parameter mostBytes: about how many bytes of texts the page may have; it ends behind the
    ///   entry that is beyond.
    package func page(_ query: TrailQuery, mostBytes: Int = .max) async throws -> Page {
        try await withTrail { connection, position in
            var page = Page(position: position, entries: [])
            var bytes = 0
            for try await row in connection.stream(query.statement) {
                // What is left of the answer comes, and is not kept.
                guard bytes <= mostBytes else {
                    page.isCut = true
                    continue
                }
                let entry = try TrailEntry(row)
                page.entries.append(entry)
                bytes += entry.textBytes
            }
            return page
        }
    }

    /// Runs `body` with a connection that reads one snapshot, and the position of the read model in
    /// it.
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
