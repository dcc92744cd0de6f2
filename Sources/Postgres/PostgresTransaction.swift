extension PostgresConnection {
    package enum Isolation: String, Sendable {
        case readCommitted = "READ COMMITTED"
        case repeatableRead = "REPEATABLE READ"
        case serializable = "SERIALIZABLE"
    }

    /// Runs `body` in a transaction. It commits when `body` returns, and rolls back when `body`
    /// throws or the task is cancelled.
    ///
    /// A transaction in which a statement failed cannot be committed, even if `body` caught the
    /// error: `25P02`. An error of kind `connectionLost` from the commit means that its outcome is
    /// unknown.
    @discardableResult
    package nonisolated(nonsending) func transaction<T: Sendable>(
        _ isolation: Isolation = .readCommitted, readOnly: Bool = false,
        _ body: (PostgresConnection) async throws -> T
    ) async throws -> T {
        let mode = "ISOLATION LEVEL \(isolation.rawValue)\(readOnly ? " READ ONLY" : "")"
        try await cancellable { try $0.begin(transaction: mode, $1) }
        let result: T
        do {
            result = try await body(self)
        } catch {
            await rollBack()
            throw error
        }
        do {
            try await cancellable { try $0.commit($1) }
        } catch {
            await rollBack()
            throw error
        }
        return result
    }

    /// Begins a transaction whose parts do not run in one scope. ``commitOpenTransaction()`` ends
    /// it. After an error, close the connection, which rolls back.
    package nonisolated(nonsending) func openTransaction() async throws {
        try await cancellable { try $0.begin(transaction: "ISOLATION LEVEL READ COMMITTED", $1) }
    }

    package nonisolated(nonsending) func commitOpenTransaction() async throws {
        try await cancellable { try $0.commit($1) }
    }

    /// Runs `body` in a transaction that is always rolled back, to find out what would happen.
    package nonisolated(nonsending) func discardedTransaction<T: Sendable>(
        _ isolation: Isolation = .readCommitted, _ body: (PostgresConnection) async throws -> T
    ) async throws -> T {
        try await cancellable { try $0.begin(transaction: "ISOLATION LEVEL \(isolation.rawValue)", $1) }
        do {
            let result = try await body(self)
            await rollBack()
            return result
        } catch {
            await rollBack()
            throw error
        }
    }
}
