import EventStore
import Foundation
import LedgerCore
import Logging
import Postgres
import Redis

/// Publishes the log, in order, to Redis: each event to its job's channel, and the head position as a beat.
///
/// It resumes from its checkpoint. What was published but not yet checkpointed when it was killed is published again; subscribers
/// tell by the position. Any number may run: one holds the lease, the others stand by. While Redis is away it waits,
/// and nothing is lost, for the log keeps everything.
public struct Relay: Sendable {
    private let store: EventStore
    private let redis: RedisClient
    private let configuration: PostgresConfiguration
    private let lease: Lease
    private let checkpoint = Checkpoint(Self.reader)
    private let window: Int
    private let logger: Logger

    /// The relay's name among the readers.
    public static let reader = "relay"
    /// Data of more bytes do not go through Redis; the message says where to fetch them.
    public static let largestData = 64 << 10
    /// How long to wait before looking for new events again.
    private static let idle = Duration.milliseconds(20)
    /// How often the head is told when nothing else is.
    private static let beat = Duration.seconds(1)

    /// - Parameter window: the most events that are published before the checkpoint moves; with the limit on data this bounds memory.
    public init(store: EventStore, url: String, redis: RedisConfiguration, window: Int = 500, logger: Logger) {
        self.store = store
        self.window = window
        self.logger = logger
        self.redis = RedisClient(redis)
        lease = Lease("relay", holder: UUID.version7().text)
        var configuration = EventStore.configuration(
            url: url, ledger: store.ledger, applicationName: "jobledger relay \(store.ledger)")
        // A checkpoint that is lost in a crash costs a repetition, not an event; so it need not wait for the disk.
        configuration.sessionSettings.append(("synchronous_commit", "off"))
        self.configuration = configuration
    }

    /// Runs until the task is cancelled.
    public func run() async {
        await LeasedWork(lease, on: configuration, logger: logger).run { connection, succeeded in
            try await publish(on: connection, succeeded: succeeded)
        }
    }

    /// Publishes until the lease is lost.
    private func publish(on connection: PostgresConnection, succeeded: () -> Void) async throws {
        var position = try await checkpoint.load(on: connection)
        let epoch: EventID = try await connection.query("SELECT epoch FROM ledger").only().decode(0)
        var renewed = ContinuousClock.now
        var lastBeat: ContinuousClock.Instant?
        var isRedisAway = false
        while true {
            if renewed.duration(to: .now) >= Lease.renewal {
                guard try await lease.take(on: connection) else { return }
                renewed = .now
            }
            let query = EventQuery(after: position, limit: window, largestData: Self.largestData)
            let events = try await connection.query(query.statement).map { try RecordedEvent($0) }
            let head = events.last?.position ?? position
            if !events.isEmpty || (lastBeat?.duration(to: .now) ?? .seconds(60)) >= Self.beat {
                do {
                    try await send(events, head: head, epoch: epoch)
                    lastBeat = .now
                    if isRedisAway { logger.notice("Redis is back", metadata: ["position": "\(position)"]) }
                    isRedisAway = false
                } catch let error as RedisError where error.isRetriable {
                    // The lease is kept meanwhile: another relay would find the same Redis.
                    if !isRedisAway { logger.warning("Redis is away, waiting", metadata: ["error": "\(error)"]) }
                    isRedisAway = true
                    try await Task.sleep(for: .milliseconds(200))
                    continue
                }
            }
            if events.isEmpty {
                try await Task.sleep(for: Self.idle)
            } else {
                guard try await checkpoint.advance(from: position, to: head, on: connection) else { return }
                position = head
                succeeded()
            }
        }
    }

    /// One round trip for the whole window. An error reply to any message fails the window, which is then published again.
    private func send(_ events: [RecordedEvent], head: Position, epoch: EventID) async throws {
        var commands = events.map { event in
            RedisCommand(
                "PUBLISH", store.ledger.channel(ofJob: event.job), CloudEvent(event, of: store.ledger).json)
        }
        commands.append(
            RedisCommand("PUBLISH", store.ledger.headChannel, #"{"position":"\#(head)","epoch":"\#(epoch.text)"}"#))
        for reply in try await redis.send(commands) { _ = try reply.get() }
    }
}
