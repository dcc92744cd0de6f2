import BlockingIO
import EventStore
import LedgerCore
import Logging
import Postgres

/// What the feed has learned from polling Postgres.
struct Polling: Sendable {
    var epoch: EventID?
    /// Verifies the relay's messages. `nil` before the first answer: until then the feed rejects
    /// everything from Redis.
    var code: MessageCode?
    /// The head that the last answer gave.
    var head: Position = 0
    /// Each subscription finds a change of epoch by itself.
    var shrinks = Shrinks()
    /// The last head that a subscription has read.
    var readHead: Position = 0
    /// Everything about the subscribed streams up to here was announced to their subscriptions;
    /// `nil` if that is not known.
    var announcedUpTo: Position?
    var last: ContinuousClock.Instant?
    /// Whether to ask for the head itself, whatever Redis says, because a new channel is being
    /// listened to.
    var isUrgent = true
    /// Whether that also concerns subscriptions that count positions, because the new channel is
    /// the pattern.
    var concernsPattern = true
    /// Subscriptions that joined after the query was made. It does not cover them.
    var newcomers: [SubscriptionBuffer] = []
    /// The last position that the log is known to have had in ``epoch``, also before it was found
    /// shorter.
    private(set) var furthest: Place?

    /// Records a position of the log in ``epoch``.
    mutating func reach(_ position: Position) {
        guard let digits = epoch.map(EpochDigits.init) else { return }
        let known = furthest?.epoch == digits ? furthest?.position ?? 0 : 0
        furthest = Place(max(known, position), epoch: digits)
    }
}

/// The heads of the log at the moments when it was found shorter than before: it was restored, or
/// the server lost events in a failover and nothing has been appended since.
///
/// By the time a subscription reads, the log may be as long as before, with other events. So a
/// subscription shares with the log at most what was there when the log was shortest.
struct Shrinks: Sendable {
    private var entries: [(head: Position, epoch: EventID)] = []

    var count: Int { entries.count }

    mutating func add(_ head: Position, in epoch: EventID) { entries.append((head, epoch)) }

    /// The shortest that the log has been in an epoch since there were `count` entries; `nil` if it
    /// has not shrunk since. In another epoch, the first position of that one says more.
    /// - Parameter epoch: `nil` for any.
    func lowestHead(since count: Int, in epoch: EventID?) -> Position? {
        entries.dropFirst(count).filter { epoch == nil || $0.epoch == epoch }.map(\.head).min()
    }
}

/// The half of a feed that polls Postgres, once for all subscriptions.
///
/// A subscription that receives everything learns from the head's beat whether something is missing
/// at the end. A subscription to one stream does not: what follows its last event may belong to any
/// stream. So whenever the beat has advanced, and at most once in each ``poll`` interval, the feed
/// asks for the last version of each subscribed stream up to there. While no beat arrives, it also
/// asks for the head, and the subscriptions read all that is new.
extension Feed {
    /// A longer stretch of the log, in positions, is not searched for streams: each subscription
    /// reads for itself.
    private static let longestSearch: Int64 = 100_000
    /// The longest pause after a poll, whether it failed or not.
    private static let longestPause = Duration.milliseconds(500)
    /// The feed asks for the epoch at least this often, whatever Redis says.
    private static let longestEpochAge = Duration.seconds(1)

    func keepPolling() async {
        var isAway = false
        for await _ in wakes {
            guard let query = dueQuery() else { continue }
            let start = ContinuousClock.now
            do {
                try await ask(query)
                if isAway { logger.notice("Postgres is reachable again") }
                isAway = false
            } catch {
                if Task.isCancelled { return }
                state.withLock { ($0.polling.isUrgent, $0.polling.concernsPattern) = (true, true) }
                if !isAway {
                    logger.warning("Postgres does not answer; polling again", metadata: ["error": "\(error)"])
                }
                isAway = true
            }
            // Polling takes at most a quarter of the time while answers come soon. A poll that took
            // long has perhaps waited for a server that was away, and subscriptions learn from the
            // next one what was lost. If the task is cancelled, the loop ends.
            try? await Task.sleep(for: min(start.duration(to: .now) * 3, Self.longestPause))
        }
    }

    private struct Query {
        var streams: [StreamKey]
        var after: Position?
        /// Everything up to here was published and should be known; `nil` to ask for all there is.
        var upTo: Position?
        /// Whether the answer also serves subscriptions that count positions. While beats arrive,
        /// the beat tells them what they lack.
        var concernsPositions: Bool
        /// The last position that came through Redis, or was read, before the query was made. It
        /// was in the log then.
        var seen: Position
    }

    /// The query that is due now, if any.
    private func dueQuery() -> Query? {
        state.withLock { state in
            let now = ContinuousClock.now
            let announced = state.receivedSpan.announcedHead(at: now)
            // The beats should have announced the head of the last answer by now. If they have not,
            // they are late, or somebody holds back messages and repeats old beats. Ask for
            // everything up to that head in either case.
            let isHeldBack = announced.map { $0 < state.polling.head } ?? false
            let upTo = state.polling.isUrgent ? nil : announced.map { max($0, state.polling.head) }
            if let upTo, let last = state.polling.last, last.duration(to: now) < Self.longestEpochAge {
                guard state.subscribers.countsVersions, upTo > state.polling.announcedUpTo ?? -1 else { return nil }
            }
            // There is no subscription, and a new one reads for itself.
            guard state.subscribers.count > 0 || state.polling.epoch == nil else {
                state.polling.announcedUpTo = nil
                return nil
            }
            let query = Query(
                streams: Array(state.subscribers.byStream.keys), after: state.polling.announcedUpTo, upTo: upTo,
                concernsPositions: announced == nil || isHeldBack
                    || state.polling.isUrgent && state.polling.concernsPattern,
                seen: max(state.receivedSpan.last, state.polling.readHead))
            state.polling.last = now
            (state.polling.isUrgent, state.polling.concernsPattern) = (false, false)
            state.polling.newcomers = []
            return query
        }
    }

    private func ask(_ query: Query) async throws {
        // Without streams there is nothing to search.
        let after = query.streams.isEmpty ? .max : query.after ?? .max
        let answer = try await store.streamHeads(
            of: query.streams, after: after, upTo: query.upTo, most: Self.longestSearch)
        let upTo = query.upTo ?? answer.head
        let (subscribers, isAnotherLedger, newcomers, before) = state.withLock { state in
            // Messages of another epoch than that of the last answer have no valid code.
            state.polling.reach(state.receivedSpan.last)
            let before = state.polling.furthest
            // A replica that is shorter lags.
            let isShorter = !answer.isReplica && answer.head < max(state.polling.head, query.seen)
            let isAnother = isShorter || state.polling.epoch.map { $0 != answer.epoch } ?? false
            (state.polling.epoch, state.polling.head) = (answer.epoch, answer.head)
            state.polling.reach(answer.head)
            if state.polling.code?.isOf(answer.secret, answer.epoch) != true {
                state.polling.code = MessageCode(secret: answer.secret, ledger: store.ledger, epoch: answer.epoch)
            }
            // What was announced before means nothing in another ledger. A replica may not have
            // reached the beat's position yet.
            state.polling.announcedUpTo = isAnother ? nil : max(min(upTo, answer.head), query.after ?? 0)
            if isAnother { state.receivedSpan.cut() }
            if isShorter {
                state.polling.shrinks.add(answer.head, in: answer.epoch)
                state.polling.readHead = answer.head
            }
            return (state.subscribers, isAnother, Set(state.polling.newcomers), before)
        }
        if let before, before.epoch != EpochDigits(answer.epoch), !answer.isReplica { await noteLoss(of: before) }
        let isPublished = query.upTo != nil
        for buffer in subscribers.all where !buffer.suspectGap(unlessOf: answer.epoch) {
            if isAnotherLedger || newcomers.contains(buffer) {
                buffer.suspectGap()
            } else if buffer.selection.jobs == nil {
                if query.concernsPositions { buffer.announce(upTo: upTo, shouldBeKnown: false) }
            } else if buffer.countsVersions || query.concernsPositions {
                announce(to: buffer, answer, from: query.after, upTo: upTo, isPublished: isPublished)
            }
        }
    }

    /// Notes what is gone of what this feed has seen in another epoch.
    private func noteLoss(of place: Place) async {
        do {
            let shared = try await store.pool.withConnection { try await $0.noteLoss(by: "feed", place) }
            guard shared < place.position else { return }
            logger.error(
                "the log has lost events that this process has seen: jobledger lost says more",
                metadata: ["place": "\(place)", "shared": "\(shared)"])
        } catch {
            // A user who only reads may not note it. Others, such as the relay, do.
            logger.debug("a loss could not be noted", metadata: ["error": "\(error)"])
        }
    }

    private func announce(
        to buffer: SubscriptionBuffer, _ answer: EventStore.StreamHeads, from after: Position?, upTo: Position,
        isPublished: Bool
    ) {
        guard let after, answer.head - after <= Self.longestSearch else { return buffer.suspectGap() }
        let newest = buffer.selection.streams?.compactMap { answer.streams[$0] }.max { $0.position < $1.position }
        if let newest {
            buffer.announce(
                upTo: buffer.countsVersions ? Int64(newest.version) : newest.position, shouldBeKnown: isPublished)
        } else if !buffer.countsVersions {
            buffer.skip(from: after, upTo: upTo)
        }
    }
}
