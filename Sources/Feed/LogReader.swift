import EventStore
import LedgerCore
import Postgres
import Redis

/// Reads the log for a relay and encodes it as commands for Redis, so that one batch is prepared
/// while the one before is published.
///
/// Each window is one round trip: the server waits until there are events, or for ``timeout``, and
/// then returns what there is. So a window is as large as the backlog: a single event when the
/// relay is live, `limit` events when it is behind. Memory holds one batch of a window, however
/// large the data is.
actor LogReader {
    /// Consecutive events as commands for Redis, followed by the head's beat.
    struct Batch: Sendable {
        var upTo: Position
        /// The ids of the events, in order.
        var ids: [EventID]
        var isEmpty: Bool { ids.isEmpty }
        var commands: RedisPipeline
    }

    private let connection: PostgresConnection
    private let demand: Durability
    private let ledger: LedgerName
    private let code: MessageCode
    private let limit: Int
    private var position: Position
    /// The rest of the current window: the chunk that was read ahead, and the chunks after it.
    private var window: (next: [UInt8], rest: PostgresCopyOut.Iterator)?
    // Buffers that are reused for every event.
    private var channel: [UInt8]
    /// The length of what the channels of all streams begin with.
    private let channelPrefix: Int
    private var message: [UInt8] = []

    /// Larger data, in bytes, is not sent through Redis; the message says where to fetch it.
    static let largestData = 64 << 10
    /// How long the server waits for events. Then it returns an empty batch, which shows that it is
    /// alive.
    private static let timeout = Duration.milliseconds(200)
    /// About how many bytes of events make a batch. The checkpoint moves once per batch, and memory
    /// holds a few batches.
    private static let batch = 512 << 10

    /// - Parameters:
    ///   - connection: for this reader alone.
    ///   - demand: what the ledger demands. Nothing that has not reached it is read.
    ///   - code: signs for the ledger in its present epoch.
    ///   - limit: the maximum number of events in a window.
    init(
        _ connection: PostgresConnection, of ledger: LedgerName, demanding demand: Durability, code: MessageCode,
        after position: Position, limit: Int
    ) {
        self.connection = connection
        self.demand = demand
        self.ledger = ledger
        self.code = code
        self.position = position
        self.limit = limit
        channel = Array("\(ledger):".utf8)
        channelPrefix = channel.count
    }

    /// The next events; an empty batch if none came in time.
    func next() async throws -> Batch {
        var rest: PostgresCopyOut.Iterator
        let chunk: [UInt8]
        if let window {
            (chunk, rest) = window
            self.window = nil
        } else {
            guard let window = try await nextWindow() else { return try encode([]) }
            rest = connection.encodedEvents(in: window, chunk: Self.batch).makeAsyncIterator()
            chunk = try await rest.next() ?? []
        }
        // The next chunk is read while this one is encoded.
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

    /// The window to read, which the server may have to wait for; `nil` if there is none yet.
    private func nextWindow() async throws -> EventWindow? {
        var window = EventWindow(
            after: position, limit: limit, largestData: Self.largestData, timeout: Self.timeout, epoch: code.epoch)
        guard demand == .quorum else { return window }
        // What others can see already may still be lost. So ask where the durable log ends, and
        // then read up to there.
        let head = try await connection.awaitDurableEvents(after: position, every: .milliseconds(1))
        guard head > position else { return nil }
        window.timeout = nil
        window.limit = Int(min(Int64(limit), head - position))
        return window
    }

    private func encode(_ chunk: [UInt8]) throws -> Batch {
        var commands = RedisPipeline()
        commands.reserveCapacity(2 * chunk.count)
        var events = try EncodedEvents(chunk)
        var ids: [EventID] = []
        while let event = try events.next() {
            position = event.position
            ids.append(event.id)
            let bytes = chunk.span
            message.removeAll(keepingCapacity: true)
            message.append(
                cloudEvent: event.id, of: ledger, category: event.category, type: event.type,
                job: bytes.extracting(event.job), position: event.position,
                version: event.version, occurredAt: event.occurredAt, recordedAt: event.recordedAt,
                total: event.total, metadata: bytes.extracting(event.metadata),
                data: bytes.extracting(event.data ?? 0..<0))
            code.sign(&message)
            channel.removeSubrange(channelPrefix...)
            channel += event.category.text.utf8
            channel.append(UInt8(ascii: ":"))
            channel += chunk[event.job]
            commands.publish(message, to: channel)
        }
        var beat = Array(#"{"position":"\#(position)","epoch":"\#(code.epoch.text)"}"#.utf8)
        code.sign(&beat)
        commands.publish(beat, to: Array(ledger.headChannel.utf8))
        return Batch(upTo: position, ids: ids, commands: commands)
    }
}
