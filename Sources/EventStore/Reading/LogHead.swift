package import LedgerCore
package import Postgres

/// Where the log ends, and which log it is.
package struct LogHead: Sendable {
    /// The position of the last event, 0 while the log is empty.
    package let position: Position
    package let epoch: EventID

    /// Returns one row with the columns `head` and `epoch`. Larger statements have it as a part.
    package static let sql = "SELECT head() AS head, epoch FROM ledger"

    /// - Parameter rows: the rows of ``sql``.
    package init(_ rows: PostgresRows) throws(PostgresError) {
        let row = try rows.only()
        position = try row.decode("head")
        epoch = try row.decode("epoch")
    }
}

extension EventStore {
    package func logHead() async throws -> LogHead {
        try await pool.withConnection { try LogHead(try await $0.query(LogHead.sql)) }
    }

    /// The last position, 0 while the log is empty.
    package func head() async throws -> Position { try await pool.withConnection { try await $0.headOfLog() } }
}

extension PostgresConnection {
    /// The last position of the log, 0 while it is empty.
    package nonisolated func headOfLog() async throws -> Position {
        try await query("SELECT head()").only().decode(0)
    }
}
