import BlockingIO
import EventStore
import LedgerCore
import Logging
import Redis

/// The sending half of a relay: batch after batch to Redis, the next one being read meanwhile.
struct Publishing: Sendable {
    let reader: LogReader
    let redis: RedisClient
    let logger: Logger

    /// How often the head is told when nothing else is.
    private static let beat = Duration.seconds(1)
    /// How long to leave a Redis alone that is away.
    private static let pause = Duration.milliseconds(200)

    /// Publishes until the task is cancelled or something fails that waiting does not mend.
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
                progress.published(batch.upTo)
                lastBeat = .now
            }
            batch = try await next
        }
    }

    /// Sends a batch, as often as it takes; subscribers may then see some of it again. An error
    /// reply to any message fails it.
    private func send(_ batch: LogReader.Batch) async throws {
        var isAway = false
        while true {
            do throws(RedisError) {
                try await redis.send(batch.commands)
                if isAway { logger.notice("Redis is back", metadata: ["position": "\(batch.upTo)"]) }
                return
            } catch {
                guard error.isRetriable else { throw error }
                // The lease is kept meanwhile: another relay would find the same Redis.
                if !isAway { logger.warning("Redis is away, waiting", metadata: ["error": "\(error)"]) }
                isAway = true
                try await Task.sleep(for: Self.pause)
            }
        }
    }
}

/// How far a relay has published: written by who publishes, read by who notes it down. Several
/// steps that nobody has read are one.
final class Progress: Sendable {
    /// Gives an element when there may be something to do.
    let wakes: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation
    private let last: Locked<Position>

    init(from position: Position) {
        last = Locked(position)
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    var position: Position { last.withLock { $0 } }

    func published(_ position: Position) {
        last.withLock { $0 = position }
        wake.yield()
    }

    /// Wakes the reader although nothing was published.
    func tick() { wake.yield() }

    /// There will be no more.
    func end() { wake.finish() }
}
