import EventStore
import LedgerCore
import OffPool
import Postgres
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
        // The head is told once behind each batch of events: who wants them all need not receive each of them for that.
        let channel = query.job.map(store.ledger.channel(ofJob:)) ?? store.ledger.headChannel
        let subscription = try redis.map { try RedisSubscription($0, channels: [channel]) }
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
            var epoch: EventID?
            var backoff = Backoff()
            for await _ in wakes {
                do {
                    guard try await drain(&query, &epoch, body) else { return }
                    backoff.reset()
                } catch let error as PostgresError where error.isRetriable {
                    // The server is away. What was given to the consumer is counted: nothing is given twice.
                    try await backoff.pause()
                    wake.yield()
                }
            }
            try Task.checkCancellation()
        }
    }

    /// Reads everything there is, as the consumer takes it. False when the consumer has had enough.
    private func drain(
        _ query: inout EventQuery, _ epoch: inout EventID?, _ body: (RecordedEvent) async throws -> Bool
    ) async throws -> Bool {
        while true {
            try Task.checkCancellation()
            let look = try await store.look(query)
            if epoch != nil, epoch != look.epoch || look.head < query.after {
                throw AnotherEpoch(position: query.after, head: look.head)
            }
            epoch = look.epoch
            for event in look.events {
                guard try await body(event) else { return false }
                query.after = event.position
            }
            if look.hasMore, query.after < look.head {
                var backlog = query
                backlog.upTo = look.head
                let goesOn = try await store.pool.withConnection { connection in
                    for try await event in connection.events(backlog) {
                        guard try await body(event) else { return false }
                        query.after = event.position
                    }
                    return true
                }
                guard goesOn else { return false }
            }
            // Everything up to the head has been looked at, whether or not it matched.
            query.after = max(query.after, look.head)
            // A backlog takes its time: there may be more by now.
            guard look.hasMore else { return true }
        }
    }
}

/// The ledger was restored or made anew: its positions mean other events than those seen so far.
public struct AnotherEpoch: Error, Sendable, CustomStringConvertible {
    public let position: Position
    public let head: Position
    public var description: String {
        "the ledger is another one than before (restored, or made anew): it ends at \(head), we had come to \(position); start again from 0"
    }
}
