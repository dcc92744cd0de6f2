package import EventStore
import Foundation
import LedgerCore
package import Logging
import Postgres
package import Redis

/// Publishes the log, in order, to Redis: each event to its job's channel, and the head position as
/// a beat.
///
/// It resumes from its checkpoint. What was published but not yet checkpointed when it was killed
/// is published again; subscribers tell by the position. Any number may run: one holds the lease,
/// the others stand by. While Redis is away it waits, and nothing is lost, for the log keeps
/// everything.
///
/// Three things go on at once: a batch is read (``LogReader``), the one before is published
/// (``Publishing``), and what was published before that is noted down, here, on a connection of its
/// own, together with the lease. Now and then it looks who holds the log (``LogLockWatch``).
package struct Relay: Sendable {
    private let store: EventStore
    private let redis: RedisClient
    private let configuration: PostgresConfiguration
    private let lease: Lease
    private let checkpoint = Checkpoint(Self.reader)
    private let window: Int
    private let longestHold: Duration?
    private let logger: Logger

    /// The relay's name among the readers.
    package static let reader = "relay"
    package static let lease = "relay"
    /// Data of more bytes do not go through Redis; the message says where to fetch them.
    package static let largestData = LogReader.largestData

    /// - Parameters:
    ///   - window: the most events that are read by one statement. Memory does not depend on it.
    ///   - longestHold: for how long a session may hold the log before the relay ends it; `nil`
    ///     only reports.
    package init(
        store: EventStore, url: String, redis: RedisConfiguration, window: Int = 100_000, longestHold: Duration? = nil,
        logger: Logger
    ) {
        self.store = store
        self.window = window
        self.longestHold = longestHold
        self.logger = logger
        self.redis = RedisClient(redis)
        lease = Lease(Self.lease, holder: UUID.version7().text)
        var configuration = EventStore.configuration(
            url: url, ledger: store.ledger, applicationName: "jobledger relay \(store.ledger)")
        // A checkpoint that is lost in a crash costs a repetition, not an event; so it need not
        // wait for the disk.
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
        let progress = Progress(from: checkpointed)
        do {
            let code = try await MessageCode.load(of: store.ledger, on: connection)
            let publishing = try await publishing(after: checkpointed, code)
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await publishing.run(progress) }
                group.addTask {
                    // Cancelled while it sleeps: the end of this task.
                    while (try? await Task.sleep(for: Lease.renewal / 2)) != nil { progress.tick() }
                }
                guard try await recordProgress(progress, &checkpointed, code, on: connection, succeeded: succeeded)
                else { return }
                try await group.next()
                try Task.checkCancellation()
            }
        } catch {
            await moveCheckpoint(to: progress.position, from: checkpointed, on: connection)
            throw error
        }
    }

    private func publishing(after position: Position, _ code: MessageCode) async throws -> Publishing {
        var configuration = configuration
        configuration.sessionSettings += EventWindow.sessionSettings
        let reader = LogReader(
            try await PostgresConnection.connect(configuration), of: store.ledger, code: code, after: position,
            limit: window)
        return Publishing(reader: reader, redis: redis, logger: logger)
    }

    /// Renews the lease and moves the checkpoint after what is published, one step for all that was
    /// published since the last.
    /// - Returns: false when somebody else is at work, or subscribers go by another key or epoch
    ///   now; true when there is nothing more to note.
    private func recordProgress(
        _ progress: Progress, _ checkpointed: inout Position, _ code: MessageCode, on connection: PostgresConnection,
        succeeded: () -> Void
    ) async throws -> Bool {
        var renewed = ContinuousClock.now
        var watch = LogLockWatch(endingAfter: longestHold, logger: logger)
        for await _ in progress.wakes {
            if renewed.duration(to: .now) >= Lease.renewal {
                guard try await lease.take(on: connection) else { return false }
                guard try await MessageCode.load(of: store.ledger, on: connection).isSame(as: code) else {
                    return false
                }
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

    /// Notes what was published before the end, also when the task is cancelled, so that the next
    /// relay does not repeat it. Where that fails, it will: the checkpoint is what it was.
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
