import BlockingIO
import EventStore
import LedgerCore
import Logging
import Redis

/// The sending half of a relay. It sends one batch to Redis while the next is read.
struct Publishing: Sendable {
    let reader: LogReader
    let redis: RedisClient
    let logger: Logger

    /// How often the head is announced while nothing else is published.
    private static let beat = Duration.seconds(1)
    /// How long to wait between attempts while Redis is away.
    private static let pause = Duration.milliseconds(200)

    /// Publishes until the task is cancelled or an error occurs that waiting cannot fix.
    func run(_ progress: Progress) async throws {
        defer { progress.end() }
        var lastBeat: ContinuousClock.Instant?
        var batch = try await reader.next()
        while true {
            let isDue = !batch.isEmpty || (lastBeat?.duration(to: .now) ?? Self.beat) >= Self.beat
            // The next batch is read while this one is sent.
            async let next = reader.next()
            if isDue {
                try await send(batch)
                progress.published(batch.ids, upTo: batch.upTo)
                lastBeat = .now
            }
            batch = try await next
        }
    }

    /// Sends a batch, and repeats it until it succeeds; subscribers may then receive some events
    /// twice. An error reply to any message fails the batch.
    private func send(_ batch: LogReader.Batch) async throws {
        var isAway = false
        while true {
            do throws(RedisError) {
                try await redis.send(batch.commands)
                if isAway { logger.notice("Redis is reachable again", metadata: ["position": "\(batch.upTo)"]) }
                return
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
    private let events: Locked<PublishedEvents>

    /// - Parameter events: receives the events that are published.
    init(from position: Position, remembering events: Locked<PublishedEvents>) {
        (last, self.events) = (Locked(position), events)
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    var position: Position { last.withLock { $0 } }

    func published(_ ids: [EventID], upTo position: Position) {
        events.withLock { $0.add(ids, upTo: position) }
        last.withLock { $0 = position }
        wake.yield()
    }

    /// Wakes the checkpoint loop although nothing was published.
    func tick() { wake.yield() }

    /// Nothing more will be published.
    func end() { wake.finish() }
}
