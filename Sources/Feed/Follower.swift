import EventStore
import LedgerCore
import OffPool
import Redis

/// Events as they come, from a position on: each once, in order.
///
/// Postgres is what is read; a message from Redis only says that there is something to read now. So nothing that Redis loses is
/// lost here, and with Redis silent or away events come a poll later.
public struct Follower: Sendable {
    private let store: EventStore
    private let redis: RedisConfiguration?

    /// How long without a message before Postgres is asked anyway.
    private let poll: Duration
    /// The most events that are read ahead of the consumer.
    private static let page = 500

    /// - Parameter redis: `nil` to poll only.
    public init(store: EventStore, redis: RedisConfiguration?, poll: Duration = .milliseconds(250)) {
        self.store = store
        self.redis = redis
        self.poll = poll
    }

    /// Gives `body` the events that `query` asks for, those in the log and then those that come, until it returns false,
    /// throws, or the task is cancelled.
    public func follow(
        _ query: EventQuery, _ body: @Sendable (RecordedEvent) async throws -> Bool
    ) async throws {
        // Several wake-ups while the consumer is busy are one.
        let (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let subscription = try redis.map { redis in
            try RedisSubscription(
                redis, channels: [store.ledger.headChannel] + (query.job.map { [store.ledger.channel(ofJob: $0)] } ?? []),
                patterns: query.job == nil ? [store.ledger.everyJob] : [])
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                // Cancelled while it sleeps: the end of this task.
                while (try? await Task.sleep(for: poll)) != nil { wake.yield() }
            }
            if let subscription {
                group.addTask {
                    for await _ in subscription { wake.yield() }
                }
            }
            wake.yield()
            var query = query
            for await _ in wakes {
                guard try await drain(&query, body) else { return }
            }
            try Task.checkCancellation()
        }
    }

    /// Reads everything there is. False when the consumer has had enough.
    private func drain(_ query: inout EventQuery, _ body: (RecordedEvent) async throws -> Bool) async throws -> Bool {
        while true {
            try Task.checkCancellation()
            let head = try await store.head()
            guard query.after < head else { return true }
            query.upTo = head
            query.limit = Self.page
            let events = try await store.page(query)
            for event in events {
                guard try await body(event) else { return false }
                query.after = event.position
            }
            // Everything up to the head has been looked at, whether or not it matched.
            if events.count < Self.page { query.after = head }
        }
    }
}
