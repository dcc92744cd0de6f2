package import LedgerCore
package import Postgres

/// A read names a category that the ledger does not have, or a type that the category does not
/// have. Without this error a misspelled name would look like a stream without events.
package struct UnknownKind: Error, Sendable, Equatable, CustomStringConvertible {
    /// What an append to such a category is told.
    package let description: String
}

extension UnknownKind: ExitStatusProviding {
    package var exitStatus: ExitStatus { .usage }
}

extension UnknownKind {
    /// Answers with one row: what is unknown, in words, or null. It needs no right to the rules of
    /// categories.
    /// - Returns: `nil` where nothing has to be asked: every ledger has jobs, and ``EventType``
    ///   knows their types.
    package static func question(_ category: Category?, _ types: Set<EventType>?) -> PostgresStatement? {
        guard let category, category != .job else { return nil }
        return PostgresStatement(
            "SELECT missing_kind($1, $2)", [category.text, (types ?? []).map(\.rawValue).sorted()])
    }

    /// - Parameter rows: the answer to ``question(_:_:)``.
    package static func check(_ rows: PostgresRows) throws {
        if let problem = try rows.only().decode(0, as: String?.self) { throw UnknownKind(description: problem) }
    }
}

extension PostgresConnection {
    /// Refuses a category, and types of it, that the ledger does not have now. Asked anew by each
    /// read, because a category may be installed at any time.
    /// - Throws: ``UnknownKind``.
    package nonisolated func require(_ category: Category?, _ types: Set<EventType>? = nil) async throws {
        guard let question = UnknownKind.question(category, types) else { return }
        try UnknownKind.check(try await query(question))
    }
}

extension EventStore {
    /// The same on a connection of the pool.
    /// - Throws: ``UnknownKind``.
    package func require(_ category: Category?, _ types: Set<EventType>? = nil) async throws {
        // Most reads are of jobs, or of everything, and take no connection for this.
        guard let question = UnknownKind.question(category, types) else { return }
        try UnknownKind.check(try await pool.withConnection { try await $0.query(question) })
    }
}
