import EventStore
import LedgerCore

/// How many concurrent callers append one event each: the one place that says it.
enum SingleAppend {
    typealias Append = @Sendable (AppendRequest) async throws -> [Appended]

    /// Lends `body` the way to append, for as long as it runs.
    static func with<T: Sendable>(_ store: EventStore, _ body: (@escaping Append) async throws -> T) async throws -> T {
        try await store.withGroupCommit { commits in
            try await body { request in try await commits.append(request) }
        }
    }
}
