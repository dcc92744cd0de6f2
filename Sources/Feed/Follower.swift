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
            let look = try await look(query)
            if epoch != nil, epoch != look.epoch || look.head < query.after {
                throw AnotherEpoch(position: query.after, head: look.head)
            }
            epoch = look.epoch
            for event in look.first {
                guard try await body(event) else { return false }
                query.after = event.position
            }
            if look.first.count < Self.few {
                // Everything up to the head has been looked at, whether or not it matched.
                query.after = max(query.after, look.head)
                return true
            }
            query.upTo = look.head
            defer { query.upTo = nil }
            let rest = query
            let goesOn = try await store.pool.withConnection { connection in
                for try await event in connection.events(rest) {
                    guard try await body(event) else { return false }
                    query.after = event.position
                }
                return true
            }
            guard goesOn else { return false }
            query.after = max(query.after, look.head)
        }
    }

    /// The most events that are read in one go, whole: with those that are there when one is live, a wake-up costs one round trip.
    private static let few = 8

    /// Where the log ends, which log it is, and the first events that `query` asks for.
    private func look(_ query: EventQuery) async throws -> (head: Position, epoch: EventID, first: [RecordedEvent]) {
        var query = query
        query.limit = Self.few
        let statements = [PostgresStatement("SELECT head(), epoch FROM ledger"), query.statement]
        let answers = try await store.pool.withConnection { try await $0.pipeline(statements) }
        let row = try answers[0].get().only()
        return (try row.decode(0), try row.decode(1), try answers[1].get().map { try RecordedEvent($0) })
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
