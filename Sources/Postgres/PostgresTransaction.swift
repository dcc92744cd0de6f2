extension PostgresConnection {
    public enum Isolation: String, Sendable {
        case readCommitted = "READ COMMITTED"
        case repeatableRead = "REPEATABLE READ"
        case serializable = "SERIALIZABLE"
    }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws or the task is cancelled.
    ///
    /// An error of kind `connectionLost` from the commit means that nobody knows its outcome.
    public nonisolated(nonsending) func transaction<T: Sendable>(
        _ isolation: Isolation = .readCommitted, readOnly: Bool = false,
        _ body: (PostgresConnection) async throws -> T
    ) async throws -> T {
        try await execute(script: "BEGIN ISOLATION LEVEL \(isolation.rawValue)\(readOnly ? " READ ONLY" : "")")
        let result: T
        do {
            result = try await body(self)
        } catch {
            await rollBack()
            throw error
        }
        do {
            try await execute(script: "COMMIT")
        } catch {
            await rollBack()
            throw error
        }
        return result
    }

    /// Runs `body` in a transaction that is rolled back whatever happens: for looking at what would be.
    public nonisolated(nonsending) func discardedTransaction<T: Sendable>(
        _ isolation: Isolation = .readCommitted, _ body: (PostgresConnection) async throws -> T
    ) async throws -> T {
        try await execute(script: "BEGIN ISOLATION LEVEL \(isolation.rawValue)")
        do {
            let result = try await body(self)
            await rollBack()
            return result
        } catch {
            await rollBack()
            throw error
        }
    }

    /// Ends an open transaction. A connection on which that fails is closed, which ends it on the server as well.
    private nonisolated func rollBack() async {
        guard await isInTransaction else { return }
        do {
            try await uninterrupted(script: "ROLLBACK")
        } catch {
            await close()
        }
    }
}
