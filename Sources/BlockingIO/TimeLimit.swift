/// Runs `body`, and cancels it when it has taken longer than `limit`. It is waited for in any case.
/// - Throws: `error` after the limit; otherwise what `body` throws.
package func withTimeLimit<Value: Sendable>(
    _ limit: Duration, orThrow error: any Error, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        defer { group.cancelAll() }
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        guard let first = try await group.next(), let value = first else { throw error }
        return value
    }
}
