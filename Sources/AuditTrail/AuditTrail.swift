package import EventStore
package import LedgerCore
import Postgres

/// Answers who did what, when and why, from the read model `audit_log`.
package struct AuditTrail: Sendable {
    let store: EventStore

    package static let projection = "audit_log"

    package init(_ store: EventStore) { self.store = store }

    /// Entries, and the position up to which the read model has folded the log.
    package struct Page: Sendable {
        package var position: Position
        package var entries: [TrailEntry]
        /// Whether the page ends early because its entries are large: more entries follow.
        package var isCut = false
    }

    /// About how many bytes of text an answer over HTTP may have. It is needed because the metadata
    /// of events may be large.
    package static let mostBytes = 4 << 20

    /// The read model has not been made yet, or is of a version before this one.
    package struct NotProjected: Error, Sendable, CustomStringConvertible {
        package let description: String

        static let absent = NotProjected(
            description:
                "the read model audit_log is not there yet: jobledger project makes it, and `jobledger up` runs that")
        /// The old table has no events of other categories, so an answer from it could leave out
        /// what it is asked for.
        static let older = NotProjected(
            description: """
                the read model audit_log is of an older version: jobledger project rebuilds it, and `jobledger up` \
                runs that (jobledger status shows how far it is)
                """)
    }

    /// - Parameter mostBytes: about how many bytes of text the page may have. It ends with the
    ///   entry that exceeds them.
    /// - Throws: ``NotProjected``, or `UnknownKind` for a category or type that the ledger does not
    ///   have.
    package func page(_ query: TrailQuery, mostBytes: Int = .max) async throws -> Page {
        try await withTrail { connection, position in
            try await connection.require(query.category, query.type.map { [$0] })
            var page = Page(position: position, entries: [])
            var bytes = 0
            for try await row in connection.stream(query.statement) {
                // The server sends the remaining rows anyway.
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

    /// Runs `body` in one snapshot of the database, with the position of the read model in it.
    /// - Throws: ``NotProjected``
    func withTrail<Value: Sendable>(
        _ body: (PostgresConnection, Position) async throws -> Value
    ) async throws -> Value {
        do {
            return try await store.pool.withConnection { connection in
                try await connection.transaction(.repeatableRead, readOnly: true) { connection in
                    let position = try await connection.query(ProjectionPosition.sql, Self.projection).only()
                        .decode(0, as: Position.self)
                    return try await body(connection, position)
                }
            }
        } catch SQLState.undefinedTable {
            throw NotProjected.absent
        } catch SQLState.undefinedColumn {
            throw NotProjected.older
        }
    }
}
