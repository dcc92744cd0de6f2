import BlockingIO
package import EventStore
import Foundation
import LedgerCore
package import Logging
import Postgres
package import Redis

/// Publishes the log to Redis in order: each event to its stream's channel, and the head position
/// as a beat.
///
/// It resumes from its checkpoint. If it was killed, it publishes again what it had published after
/// the last checkpoint; subscribers recognize repeats by the position. Any number of relays may
/// run: one holds the lease, the others stand by. While Redis is away the relay waits. Nothing is
/// lost, because the log keeps everything.
///
/// Three things happen at once: ``LogReader`` reads a batch, ``Publishing`` sends the one before,
/// and this type records what was sent before that. It moves the checkpoint and renews the lease on
/// a connection of its own, and regularly checks which session holds the log (``LogLockWatch``).
package struct Relay: Sendable {
    private let store: EventStore
    private let redis: RedisClient
    private let configuration: PostgresConfiguration
    private let lease: Lease
    private let checkpoint = Checkpoint(Self.reader)
    private let window: Int
    private let longestHold: Duration?
    private let logger: Logger
    /// It outlives the sessions with the database.
    private let memory: RelayMemory

    /// The relay's name in the table of checkpoints.
    package static let reader = "relay"
    /// The name of the relay's lease.
    package static let lease = "relay"
    /// Larger data, in bytes, is not sent through Redis; the message says where to fetch it.
    package static let largestData = LogReader.largestData

    /// - Parameters:
    ///   - window: the maximum number of events that one statement reads. Memory does not depend on
    ///     it.
    ///   - longestHold: after how long the relay ends a session that holds the log; `nil` to only
    ///     report it.
    package init(
        store: EventStore, url: String, redis: RedisConfiguration, window: Int = 100_000, longestHold: Duration? = nil,
        leaseTimes: LeaseTimes = .standard, logger: Logger
    ) {
        self.store = store
        self.window = window
        self.longestHold = longestHold
        self.logger = logger
        self.redis = RedisClient(redis)
        memory = RelayMemory(of: store.ledger, logger: logger)
        lease = Lease(Self.lease, holder: UUID.version7().text, times: leaseTimes)
        var configuration = EventStore.configuration(
            url: url, ledger: store.ledger, applicationName: "jobledger relay \(store.ledger)", writes: true)
        // A checkpoint that a crash loses costs a repetition, not an event, so it need not wait for
        // the disk.
        configuration.sessionSettings.append(("synchronous_commit", "off"))
        self.configuration = configuration
    }

    /// Runs until the task is cancelled.
    package func run() async {
        await LeasedWork(lease, on: configuration, logger: logger).run { connection, succeeded in
            try await publish(on: connection, succeeded: succeeded)
        }
    }

    /// Publishes until the lease is lost.
    private func publish(on connection: PostgresConnection, succeeded: () -> Void) async throws {
        var checkpointed = try await checkpoint.load(on: connection)
        let head = try await connection.headOfLog()
        if checkpointed > head {
            logger.warning(
                "the checkpoint is beyond the end of the log; publishing goes on at the end",
                metadata: ["checkpoint": "\(checkpointed)", "head": "\(head)"])
            guard try await checkpoint.advance(from: checkpointed, to: head, on: connection) else { return }
            checkpointed = head
        }
        let progress = Progress(from: checkpointed)
        var published: MessageCode?
        do {
            _ = try await noticeRestore(on: connection)
            let code = try await MessageCode.load(of: store.ledger, on: connection)
            published = code
            try await noteLoss(in: code.epoch, on: connection)
            // A memory with gaps would take more for lost than was.
            if memory.lacks(checkpointed) {
                memory.learn(
                    try await connection.publishedEvents(upTo: checkpointed), upTo: checkpointed, in: code.epoch)
            }
            defer { memory.add(upTo: progress.position, in: code.epoch) }
            let demanded = try await store.demanded.level(on: connection)
            let publishing = try await publishing(after: checkpointed, code, demanded)
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await publishing.run(progress) }
                group.addTask {
                    // Cancellation ends the sleep, and with it this task.
                    while (try? await Task.sleep(for: lease.times.renewal / 2)) != nil { progress.tick() }
                }
                guard
                    try await recordProgress(
                        progress, &checkpointed, code, demanded, on: connection, succeeded: succeeded)
                else { return memory.standBy() }
                try await group.next()
                try Task.checkCancellation()
            }
        } catch {
            memory.standBy()
            await moveCheckpoint(to: progress.position, from: checkpointed, on: connection)
            if let published { await Task { await memory.write(to: redis, published, isLast: true) }.value }
            throw error
        }
    }

    /// Notes where the log has begun another epoch, and does not have all that was published.
    private func noteLoss(in epoch: EventID, on connection: PostgresConnection) async throws {
        guard let place = memory.place, place.epoch != EpochDigits(epoch) else { return }
        let shared = try await connection.noteLoss(by: Self.reader, place)
        if shared < place.position {
            logger.error(
                "the log has lost events that were published: jobledger lost says more",
                metadata: ["place": "\(place)", "shared": "\(shared)"])
        }
        memory.fork(at: shared, in: epoch)
    }

    /// Has the log begin an epoch where it does not have what was published, although its server is
    /// the same: it was restored from a snapshot.
    /// - Returns: whether it was.
    private func noticeRestore(on connection: PostgresConnection) async throws -> Bool {
        let (unchecked, last, epoch) = memory.withEvents { ($0.unchecked, $0.last, $1) }
        guard let epoch, let last, !unchecked.isEmpty else { return false }
        if try await connection.stillHas(unchecked) {
            memory.withEvents { events, _ in events.check(upTo: last.position) }
            return false
        }
        _ = try await connection.noticeRestore(of: memory.withEvents { events, _ in events.all }, in: epoch)
        return true
    }

    private func publishing(
        after position: Position, _ code: MessageCode, _ demanded: Durability
    ) async throws -> Publishing {
        var configuration = configuration
        configuration.sessionSettings += EventWindow.sessionSettings
        let reader = LogReader(
            try await PostgresConnection.connect(configuration), of: store.ledger, demanding: demanded, code: code,
            after: position, limit: window)
        return Publishing(reader: reader, redis: redis, memory: memory, code: code, logger: logger)
    }

    /// Renews the lease and moves the checkpoint to what was published, in one step for everything
    /// since the last.
    /// - Returns: false if another relay is at work, or the ledger's key, epoch or demand has
    ///   changed, or the log was restored; true if nothing more will be published, or if an earlier
    ///   relay's memory was found.
    private func recordProgress(
        _ progress: Progress, _ checkpointed: inout Position, _ code: MessageCode, _ demanded: Durability,
        on connection: PostgresConnection, succeeded: () -> Void
    ) async throws -> Bool {
        var renewed = ContinuousClock.now
        var watch = LogLockWatch(endingAfter: longestHold, logger: logger)
        for await _ in progress.wakes {
            if renewed.duration(to: .now) >= lease.times.renewal {
                guard try await lease.take(on: connection) else { return false }
                guard try await MessageCode.load(of: store.ledger, on: connection).isSame(as: code),
                    try await store.demanded.level(on: connection) == demanded
                else { return false }
                guard try await !noticeRestore(on: connection) else { return false }
                renewed = .now
                try await watch.look(on: connection)
            }
            let position = progress.position
            guard position > checkpointed else { continue }
            guard try await checkpoint.advance(from: checkpointed, to: position, on: connection) else { return false }
            checkpointed = position
            succeeded()
        }
        return true
    }

    /// Moves the checkpoint to what was published before the end, so that the next relay does not
    /// repeat it. It runs in a task of its own, so that cancellation does not prevent it. If it
    /// fails, the next relay repeats from the old checkpoint.
    private func moveCheckpoint(to position: Position, from checkpointed: Position, on connection: PostgresConnection)
        async
    {
        guard position > checkpointed else { return }
        let task = Task {
            guard await connection.isUsable() else { return }
            _ = try? await checkpoint.advance(from: checkpointed, to: position, on: connection)
        }
        await task.value
    }
}
