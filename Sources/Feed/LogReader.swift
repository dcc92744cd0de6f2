import EventStore
import LedgerCore
import Postgres
import Redis

/// Reads the log for a relay and spells it out for Redis, so that one batch can be made while the
/// one before is published.
///
/// Each window is one round trip: the server waits until there are events, or for ``timeout``, and
/// then gives what there is. So windows are as large as the backlog is: a single event when the
/// relay is live, the limit when it is behind. Memory holds one batch of a window, whatever the
/// size of the data.
actor LogReader {
    /// Events one behind the other, as commands for Redis, and behind them the head.
    struct Batch: Sendable {
        var upTo: Position
        var isEmpty: Bool
        var commands: RedisPipeline
    }

    private let connection: PostgresConnection
    private let ledger: LedgerName
    private let code: MessageCode
    private let limit: Int
    private var position: Position
    /// What is left of the window under way: a chunk that has been read, and those that follow it.
    private var window: (next: [UInt8], rest: PostgresCopyOut.Iterator)?
    // Buffers that every event uses again.
    private var channel: [UInt8]
    private let channelPrefix: Int
    private var message: [UInt8] = []

    /// Data of more bytes do not go through Redis; the message says where to fetch them.
    static let largestData = 64 << 10
    /// How long the server waits for events; then there is an empty batch, a sign of life.
    private static let timeout = Duration.milliseconds(200)
    /// About how many bytes of events make a batch: the checkpoint moves once a batch, and memory
    /// holds a few of them.
    private static let batch = 512 << 10

    /// - Parameters:
    ///   - connection: nobody else uses it.
    ///   - code: of the ledger, in its present epoch.
    ///   - limit: the most events a window.
    init(
        _ connection: PostgresConnection, of ledger: LedgerName, code: MessageCode, after position: Position, limit: Int
    ) {
        self.connection = connection
        self.ledger = ledger
        self.code = code
        self.position = position
        self.limit = limit
        channel = Array(ledger.channel(ofJob: "").utf8)
        channelPrefix = channel.count
    }

    /// The next events; an empty batch when none came for a while.
    func next() async throws -> Batch {
        var rest: PostgresCopyOut.Iterator
        let chunk: [UInt8]
        if let window {
            (chunk, rest) = window
            self.window = nil
        } else {
            rest = begin()
            chunk = try await rest.next() ?? []
        }
        // The chunk behind is read while this one is spelled out.
        async let following = Self.next(of: rest)
        let batch = try encode(chunk)
        window = try await following
        return batch
    }

    private static func next(of rest: PostgresCopyOut.Iterator) async throws -> (
        next: [UInt8], rest: PostgresCopyOut.Iterator
    )? {
        var rest = rest
        return try await rest.next().map { ($0, rest) }
    }

    private func begin() -> PostgresCopyOut.Iterator {
        let window = EventWindow(
            after: position, limit: limit, largestData: Self.largestData, timeout: Self.timeout, epoch: code.epoch)
        return connection.encodedEvents(in: window, chunk: Self.batch).makeAsyncIterator()
    }

    private func encode(_ chunk: [UInt8]) throws -> Batch {
        var commands = RedisPipeline()
        commands.reserveCapacity(2 * chunk.count)
        var events = try EncodedEvents(chunk)
        let start = position
        while let event = try events.next() {
            position = event.position
            let bytes = chunk.span
            message.removeAll(keepingCapacity: true)
            message.append(
                cloudEvent: event.id, of: ledger, type: event.type, job: bytes.extracting(event.job),
                position: event.position,
                version: event.version, occurredAt: event.occurredAt, recordedAt: event.recordedAt,
                total: event.total, metadata: bytes.extracting(event.metadata),
                data: bytes.extracting(event.data ?? 0..<0))
            code.sign(&message)
            channel.removeSubrange(channelPrefix...)
            channel += chunk[event.job]
            commands.publish(message, to: channel)
        }
        var beat = Array(#"{"position":"\#(position)","epoch":"\#(code.epoch.text)"}"#.utf8)
        code.sign(&beat)
        commands.publish(beat, to: Array(ledger.headChannel.utf8))
        return Batch(upTo: position, isEmpty: position == start, commands: commands)
    }
}
