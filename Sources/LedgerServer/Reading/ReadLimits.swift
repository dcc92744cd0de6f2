import LedgerCore

/// What a read may cost: so much time, and so many of the readers at once as leave some to others.
///
/// It runs off the connections' threads, for to build a page of megabytes takes long. When its time
/// is over, or its client has gone, its query is called off and its reader given back.
struct ReadLimits: Sendable {
    private let time: Duration
    private let share: FairShare<TokenID?>

    /// - Parameter readers: connections to Postgres for reading.
    init(time: Duration, readers: Int) {
        self.time = time
        share = FairShare(share: max(1, readers * 3 / 4))
    }

    /// Reads that are under way.
    var underWay: Int { share.held }

    func run<Value: Sendable>(
        for token: AccessToken?, _ read: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            defer { group.cancelAll() }
            group.addTask(executorPreference: globalConcurrentExecutor) {
                try await share.withPlace(of: token?.id) { try await read() }
            }
            group.addTask { [time] in
                try await Task.sleep(for: time)
                return nil
            }
            guard let first = try await group.next(), let value = first else { throw tooSlow }
            return value
        }
    }

    private var tooSlow: Problem {
        .unavailable(
            "the answer was not found within \(time.components.seconds) s, and was given up; ask for less at a time, or for fewer things at once",
            code: "too_slow", retryAfter: 5)
    }
}
