import EventStore
import LedgerCore

/// How concurrent callers append one event each. All rows use this definition.
enum SingleAppend {
    typealias Append = @Sendable (AppendRequest) async throws -> [Appended]

    /// Gives `body` the function to append with, for as long as `body` runs.
    static func with<T: Sendable>(_ store: EventStore, _ body: (@escaping Append) async throws -> T) async throws -> T {
        try await store.withGroupCommit { commits in
            try await body { request in try await commits.append(request) }
        }
    }
}
