import Diagnostics
import Logging

/// Runs `work`, which does not end by itself, for as long as `body` runs.
func during<T: Sendable>(_ work: @escaping @Sendable () async -> Void, _ body: () async throws -> T) async throws -> T {
    try await withThrowingTaskGroup(of: Void.self) { group in
        defer { group.cancelAll() }
        group.addTask { await work() }
        return try await body()
    }
}

extension Logger {
    static let bench: Logger = {
        var logger = Logger.standardError("bench")
        logger.logLevel = .error
        return logger
    }()
}

/// Waits until `condition` holds, and checks it every few milliseconds. Throws if that takes longer
/// than `limit`.
func until(
    _ what: String, every pause: Duration = .milliseconds(10), within limit: Duration,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now.advanced(by: limit)
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw BenchFailure("\(limit) passed before \(what)") }
        try await Task.sleep(for: pause)
    }
}
