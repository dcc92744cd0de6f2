import EventStore
import LedgerCore
import Postgres
import Redis

/// Reads the log for a relay and spells it out for Redis, so that one batch can be made while the one before is published.
///
/// Each window is one round trip: the server waits until there are events, or for ``patience``, and then gives what there is. So
/// windows are as large as the backlog is: a single event when the relay is live, the limit when it is behind. Memory holds one batch of
/// a window, whatever the size of the data.
actor LogReader {
    /// Events one behind the other, as commands for Redis, and behind them the head.
    struct Batch: Sendable {
        var upTo: Position
        var isEmpty: Bool
        var commands: RedisPipeline
    }

    private typealias Window = AsyncThrowingMapSequence<PostgresCopyOut, [RecordedEvent]>.Iterator

    private let connection: PostgresConnection
    private let ledger: LedgerName
    private let epoch: EventID
    private let limit: Int
    private var position: Position
    /// The window under way, and whether it has given nothing yet.
    private var window: (events: Window, isEmpty: Bool)?
    // Buffers that every event uses again.
    private var channel: [UInt8]
    private let channelPrefix: Int
    private var message: [UInt8] = []

    /// Data of more bytes do not go through Redis; the message says where to fetch them.
    static let largestData = 64 << 10
    /// How long the server waits for events; then there is an empty batch, a sign of life.
    private static let patience = Duration.milliseconds(200)
    /// About how many bytes of events make a batch: the checkpoint moves once a batch, and memory holds a few of them.
    private static let batch = 256 << 10

    /// - Parameters:
    ///   - connection: nobody else uses it.
    ///   - limit: the most events a window.
    init(_ connection: PostgresConnection, of ledger: LedgerName, epoch: EventID, after position: Position, limit: Int) {
        self.connection = connection
        self.ledger = ledger
        self.epoch = epoch
        self.position = position
        self.limit = limit
        channel = Array(ledger.channel(ofJob: "").utf8)
        channelPrefix = channel.count
    }

    /// The next events; an empty batch when none came for a while.
    func next() async throws -> Batch {
        while true {
            var (events, isEmpty) = window ?? (begin(), true)
            window = nil
            guard let some = try await events.next(isolation: #isolation) else {
                if isEmpty { return batch([]) }
                continue
            }
            window = (events, isEmpty && some.isEmpty)
            if let last = some.last {
                position = last.position
                return batch(some)
            }
        }
    }

    private func begin() -> Window {
        let window = EventWindow(after: position, limit: limit, largestData: Self.largestData, patience: Self.patience)
        return connection.events(in: window, chunk: Self.batch).makeAsyncIterator()
    }

    private func batch(_ events: [RecordedEvent]) -> Batch {
        var commands = RedisPipeline()
        commands.reserveCapacity(events.isEmpty ? 0 : 2 * Self.batch)
        for event in events {
            message.removeAll(keepingCapacity: true)
            CloudEvent(event, of: ledger).append(to: &message)
            channel.removeSubrange(channelPrefix...)
            channel += event.job.utf8
            commands.publish(message, to: channel)
        }
        commands.append(
            RedisCommand("PUBLISH", ledger.headChannel, #"{"position":"\#(position)","epoch":"\#(epoch.text)"}"#))
        return Batch(upTo: position, isEmpty: events.isEmpty, commands: commands)
    }
}
