import BlockingIO
import EventStore
import LedgerCore
import Logging
import Redis

/// The sending half of a relay. It sends one batch to Redis while the next is read.
struct Publishing: Sendable {
    let reader: LogReader
    let redis: RedisClient
    let memory: RelayMemory
    let code: MessageCode
    let logger: Logger

    /// How often the head is announced while nothing else is published.
    private static let beat = Duration.seconds(1)
    /// How long to wait between attempts while Redis is away.
    private static let pause = Duration.milliseconds(200)

    /// Publishes until the task is cancelled or an error occurs that waiting cannot fix. It returns
    /// if Redis has a record of what was published, which must be compared with the log first.
    func run(_ progress: Progress) async throws {
        defer { progress.end() }
        let hasRecalled = try await persistently(at: progress.position) { () throws(RedisError) in
            try await memory.recall(from: redis, code)
        }
        guard !hasRecalled else { return }
        var lastBeat: ContinuousClock.Instant?
        var batch = try await reader.next()
        while true {
            let isDue = !batch.isEmpty || (lastBeat?.duration(to: .now) ?? Self.beat) >= Self.beat
            // The next batch is read while this one is sent.
            async let next = reader.next()
            if isDue {
                try await send(batch)
                memory.add(batch.ids, upTo: batch.upTo, in: code.epoch)
                progress.published(upTo: batch.upTo)
                await memory.write(to: redis, code)
                lastBeat = .now
            }
            batch = try await next
        }
    }

    /// Sends a batch, and repeats it until it succeeds; subscribers may then receive some events
    /// twice. An error reply to any message fails the batch.
    private func send(_ batch: LogReader.Batch) async throws {
        try await persistently(at: batch.upTo) { () throws(RedisError) in try await redis.send(batch.commands) }
    }

    /// Repeats work on Redis until it succeeds.
    private func persistently<T>(at position: Position, _ work: () async throws(RedisError) -> T) async throws -> T {
        var isAway = false
        while true {
            do throws(RedisError) {
                let result = try await work()
                if isAway { logger.notice("Redis is reachable again", metadata: ["position": "\(position)"]) }
                return result
            } catch {
                guard error.isRetriable else { throw error }
                // The lease is kept: another relay would find the same Redis.
                if !isAway { logger.warning("Redis is unreachable; retrying", metadata: ["error": "\(error)"]) }
                isAway = true
                try await Task.sleep(for: Self.pause)
            }
        }
    }
}

/// How far a relay has published. The publisher writes it, and the relay's checkpoint loop reads
/// it. Several steps that were not read in between count as one.
final class Progress: Sendable {
    /// Yields an element when there may be something to do.
    let wakes: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation
    private let last: Locked<Position>

    init(from position: Position) {
        last = Locked(position)
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    var position: Position { last.withLock { $0 } }

    func published(upTo position: Position) {
        last.withLock { $0 = position }
        wake.yield()
    }

    /// Wakes the checkpoint loop although nothing was published.
    func tick() { wake.yield() }

    /// Nothing more will be published.
    func end() { wake.finish() }
}
