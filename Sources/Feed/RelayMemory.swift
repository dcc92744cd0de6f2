import BlockingIO
import Foundation
import LedgerCore
import Logging
import Redis

/// What relays remember of what they have published, beside the ledger: a log that lost its end, or
/// was restored from a snapshot, has lost its own memory of that too.
///
/// A process remembers thousands of events. Once a second it writes some of them to Redis, so that
/// a relay that starts after the restore knows them. The record carries the ledger's message code,
/// so that nobody else can make the log begin an epoch.
final class RelayMemory: Sendable {
    private struct State {
        var place: Place?
        var events = PublishedEvents()
        var isRecalled = false
        /// The last position in the record in Redis.
        var written: Position = 0
        var wroteAt: ContinuousClock.Instant?
        var hasWarned = false
    }

    private let state = Locked(State())
    private let key: String
    private let logger: Logger

    /// How often the record is written, at most.
    private static let pause = Duration.seconds(1)

    init(of ledger: LedgerName, logger: Logger) {
        key = Self.key(of: ledger)
        self.logger = logger
    }

    /// The Redis key of the record.
    static func key(of ledger: LedgerName) -> String { "\(ledger):published" }

    /// How far was published, and in which epoch; `nil` before the first event.
    var place: Place? { state.withLock { $0.place } }

    /// The last published events, and the epoch in which they were published.
    func withEvents<T: Sendable>(_ body: (inout PublishedEvents, EpochDigits?) -> T) -> T {
        state.withLock { body(&$0.events, $0.place?.epoch) }
    }

    /// Adds published events, the last of them at `position`. With none, everything up to there was
    /// published earlier.
    func add(_ ids: [EventID] = [], upTo position: Position, in epoch: EventID) {
        let epoch = EpochDigits(epoch)
        state.withLock { state in
            // What was recalled may be of another epoch, until the log was looked at.
            guard state.place.map({ $0.epoch == epoch }) ?? true else { return }
            state.place = Place(max(position, state.place?.position ?? 0), epoch: epoch)
            state.events.add(ids, upTo: position)
        }
    }

    /// The log has another epoch, and shares everything up to a position.
    func fork(at shared: Position, in epoch: EventID) {
        state.withLock { state in
            state.place = Place(shared, epoch: EpochDigits(epoch))
            state.events.forget(after: shared)
            state.written = min(state.written, shared)
        }
    }

    /// Whether other relays have published events up to a position that this one does not know.
    func lacks(_ position: Position) -> Bool { state.withLock { ($0.events.last?.position ?? 0) < position } }

    /// Learns from the log what other relays have published, up to a position. What this one knows
    /// was found in its place.
    func learn(_ events: [PublishedEvents.Event], upTo position: Position, in epoch: EventID) {
        state.withLock { state in
            state.place = Place(position, epoch: EpochDigits(epoch))
            state.events = PublishedEvents(remembering: events)
            state.events.check(upTo: position)
        }
    }

    // MARK: The record in Redis

    /// Another relay may publish from now on, so that its record is to be recalled afterwards.
    func standBy() { state.withLock { $0.isRecalled = false } }

    /// Recalls what other relays have published before this one, or since it did.
    /// - Returns: whether there was something. Then the log must be looked at before anything is
    ///   published.
    func recall(from redis: RedisClient, _ code: MessageCode) async throws(RedisError) -> Bool {
        guard !state.withLock({ $0.isRecalled }) else { return false }
        var record: PublishedRecord?
        do throws(RedisError) {
            // A stranger's value may be larger than any record.
            let value = try await redis.command("GETRANGE", key, "0", "\(MessageCode.longestMessage)")
            if let bytes = value.bytes, !bytes.isEmpty {
                record = PublishedRecord(verifying: bytes, code)
                if record == nil {
                    logger.notice("the record of what was published is not this ledger's: it is written anew")
                }
            }
        } catch {
            guard !error.isRetriable else { throw error }
            warn("a relay may not read", error)
        }
        return state.withLock { state in
            state.isRecalled = true
            // It goes before what the log has: that may be the log of a restored snapshot.
            guard let record, let last = record.events.last,
                state.place?.epoch != EpochDigits(record.epoch) || last.position > state.events.last?.position ?? 0
            else { return false }
            state.events = PublishedEvents(remembering: record.events)
            state.place = Place(last.position, epoch: EpochDigits(record.epoch))
            state.written = last.position
            return true
        }
    }

    /// Writes the record, if there is something new and the last one is a second old. An error has
    /// no consequence for what is published: the record is written with the next events.
    /// - Parameter isLast: whether nothing follows, so that it is written now.
    func write(to redis: RedisClient, _ code: MessageCode, isLast: Bool = false) async {
        let events: [PublishedEvents.Event] = state.withLock { state in
            guard let last = state.events.last, last.position > state.written,
                isLast || state.wroteAt.map({ $0.duration(to: .now) >= Self.pause }) ?? true,
                state.place?.epoch == EpochDigits(code.epoch)
            else { return [] }
            (state.written, state.wroteAt) = (last.position, .now)
            return state.events.excerpt
        }
        guard !events.isEmpty else { return }
        do throws(RedisError) {
            try await redis.command(
                "SET", key, PublishedRecord(epoch: code.epoch, events: events).signed(code), within: Self.pause)
        } catch {
            state.withLock { $0.written = 0 }
            if !error.isRetriable { warn("a relay may not write", error) }
        }
    }

    private func warn(_ what: String, _ error: RedisError) {
        guard
            state.withLock({ state in
                defer { state.hasWarned = true }
                return !state.hasWarned
            })
        else { return }
        logger.warning(
            "\(what) the key \(key), so that a restored snapshot is noticed only while the relay runs",
            metadata: ["error": "\(error)"])
    }
}

/// Some of the events that were published in an epoch, as they are kept in Redis.
struct PublishedRecord: Sendable, Equatable {
    let epoch: EventID
    let events: [PublishedEvents.Event]

    private struct Document: Codable {
        let epoch: EventID
        let positions: [Position]
        let ids: [EventID]
    }

    init(epoch: EventID, events: [PublishedEvents.Event]) { (self.epoch, self.events) = (epoch, events) }

    /// `nil` if this ledger's relays have not written it.
    init?(verifying bytes: [UInt8], _ code: MessageCode) {
        // The code is that of the epoch that the record names, which may be an earlier one.
        guard let claimed = try? JSONDecoder().decode(Document.self, from: Data(bytes)),
            let verified = code.of(claimed.epoch).verified(bytes),
            let document = try? JSONDecoder().decode(Document.self, from: Data(verified)),
            document.positions.count == document.ids.count
        else { return nil }
        epoch = document.epoch
        events = zip(document.positions, document.ids).map { PublishedEvents.Event(position: $0, id: $1) }
    }

    func signed(_ code: MessageCode) -> [UInt8] {
        let document = Document(epoch: epoch, positions: events.map(\.position), ids: events.map(\.id))
        guard let data = try? JSONEncoder().encode(document) else {
            preconditionFailure("numbers and ids are always JSON")
        }
        var bytes = [UInt8](data)
        code.of(epoch).sign(&bytes)
        return bytes
    }
}
