import BlockingIO
import LedgerCore

/// Limits what reads may cost: the time of each, and the share of the readers that one token may
/// use at once, which leaves some for others.
///
/// Reads run outside the event loops, because building a page of megabytes takes long. When its
/// time is over or its client has gone, a read's query is cancelled and its reader released.
struct ReadLimits: Sendable {
    private let time: Duration
    private let share: FairShare<TokenID?>

    /// - Parameter readers: the number of connections to Postgres for reading.
    init(time: Duration, readers: Int) {
        self.time = time
        share = FairShare(share: max(1, readers * 3 / 4))
    }

    /// The number of reads under way.
    var underWay: Int { share.held }

    func run<Value: Sendable>(
        for token: AccessToken?, _ read: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withTimeLimit(time, orThrow: tooSlow) { [share] in
            try await withTaskExecutorPreference(globalConcurrentExecutor) {
                try await share.withPlace(of: token?.id) { try await read() }
            }
        }
    }

    private var tooSlow: Problem {
        .unavailable(
            "the read took longer than \(time.components.seconds) s and was cancelled; "
                + "request less at a time, or send fewer requests at once",
            code: "too_slow", retryAfter: 5)
    }
}
