import BlockingIO
import EventStore
import LedgerCore
import Logging
import Postgres

/// What a feed knows from polling Postgres.
struct Polling: Sendable {
    var epoch: EventID?
    /// What the relay's messages are told by; `nil` before the first answer, when nothing that
    /// Redis brings is believed.
    var code: MessageCode?
    /// How far the log went.
    var head: Position = 0
    /// How often the log turned out to be shorter than before. That it is of another epoch, each
    /// subscription tells by its own.
    var shrinkCount = 0
    /// Everything of the jobs up to here has been told to their subscriptions; `nil` where that is
    /// not known.
    var announcedUpTo: Position?
    var last: ContinuousClock.Instant?
    /// Whether to ask for the head itself, whatever Redis says: for a channel that is listened to
    /// from now on.
    var isUrgent = true
    /// Whether that also concerns who counts positions: for the pattern.
    var concernsPattern = true
    /// Those that have joined since the query was put: it was not put for them.
    var newcomers: [SubscriptionBuffer] = []
}

/// The half of a feed that asks Postgres, once for all subscriptions.
///
/// Who receives everything knows by the head's beat whether something is missing at the end. Who
/// receives one job does not: what came behind the last event that it received may be anybody's. So
/// whenever the beat has moved on, and not more often than ``poll``, the feed asks which of its
/// jobs have how many events up to there. While nobody tells the head it asks for that as well, and
/// all that is new is read.
extension Feed {
    /// A stretch longer than this is not searched for jobs: each subscription looks for itself.
    private static let longestSearch: Int64 = 100_000
    /// The epoch is asked for this often, whatever Redis says.
    private static let longestEpochAge = Duration.seconds(1)

    func keepPolling() async {
        var isAway = false
        for await _ in wakes {
            guard let query = dueQuery() else { continue }
            let start = ContinuousClock.now
            do {
                try await ask(query)
                if isAway { logger.notice("Postgres is back") }
                isAway = false
            } catch {
                if Task.isCancelled { return }
                state.withLock { ($0.polling.isUrgent, $0.polling.concernsPattern) = (true, true) }
                if !isAway { logger.warning("Postgres does not answer, asking again", metadata: ["error": "\(error)"]) }
                isAway = true
            }
            // However long an answer takes, polling takes a quarter of the time at most. Cancelled:
            // the loop ends.
            try? await Task.sleep(for: start.duration(to: .now) * 3)
        }
    }

    private struct Query {
        var jobs: [JobID]
        var after: Position?
        /// Everything up to here has been published and should be known; `nil` to ask what there
        /// is.
        var upTo: Position?
        /// Whether the answer is for those who count positions too. While the head beats, that says
        /// what they lack.
        var concernsPositions: Bool
    }

    /// What is to be asked now, if anything.
    private func dueQuery() -> Query? {
        state.withLock { state in
            let now = ContinuousClock.now
            let told = state.receivedSpan.announcedHead(at: now)
            // How far Postgres went when it was asked last should have been told by now. Where it
            // was not, the beats are late, or somebody holds back messages and repeats old beats:
            // what was there then is asked for all the same.
            let isHeldBack = told.map { $0 < state.polling.head } ?? false
            let upTo = state.polling.isUrgent ? nil : told.map { max($0, state.polling.head) }
            if let upTo, let last = state.polling.last, last.duration(to: now) < Self.longestEpochAge {
                guard state.subscribers.countsVersions, upTo > state.polling.announcedUpTo ?? -1 else { return nil }
            }
            // Nobody is there, and who comes looks for itself.
            guard state.subscribers.count > 0 || state.polling.epoch == nil else {
                state.polling.announcedUpTo = nil
                return nil
            }
            let query = Query(
                jobs: Array(state.subscribers.byJob.keys), after: state.polling.announcedUpTo, upTo: upTo,
                concernsPositions: told == nil || isHeldBack || state.polling.isUrgent && state.polling.concernsPattern)
            state.polling.last = now
            (state.polling.isUrgent, state.polling.concernsPattern) = (false, false)
            state.polling.newcomers = []
            return query
        }
    }

    private func ask(_ query: Query) async throws {
        // Of no jobs there is nothing to search for.
        let after = query.jobs.isEmpty ? .max : query.after ?? .max
        let answer = try await store.jobHeads(of: query.jobs, after: after, upTo: query.upTo, most: Self.longestSearch)
        let upTo = query.upTo ?? answer.head
        let (subscribers, isAnotherLedger, newcomers) = state.withLock { state in
            let isShorter = answer.head < state.polling.head
            let isAnother = isShorter || state.polling.epoch.map { $0 != answer.epoch } ?? false
            (state.polling.epoch, state.polling.head) = (answer.epoch, answer.head)
            if state.polling.code?.isOf(answer.secret, answer.epoch) != true {
                state.polling.code = MessageCode(secret: answer.secret, ledger: store.ledger, epoch: answer.epoch)
            }
            // Another ledger's positions are not those that were told. A replica may not have come
            // to where the beat is.
            state.polling.announcedUpTo = isAnother ? nil : max(min(upTo, answer.head), query.after ?? 0)
            if isAnother { state.receivedSpan.cut() }
            if isShorter { state.polling.shrinkCount += 1 }
            return (state.subscribers, isAnother, Set(state.polling.newcomers))
        }
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

    private func announce(
        to buffer: SubscriptionBuffer, _ answer: EventStore.JobHeads, from after: Position?, upTo: Position,
        isPublished: Bool
    ) {
        guard let after, answer.head - after <= Self.longestSearch else { return buffer.suspectGap() }
        let newest = (buffer.selection.jobs ?? []).compactMap { answer.jobs[$0] }.max { $0.position < $1.position }
        if let newest {
            buffer.announce(
                upTo: buffer.countsVersions ? Int64(newest.version) : newest.position, shouldBeKnown: isPublished)
        } else if !buffer.countsVersions {
            buffer.skip(from: after, upTo: upTo)
        }
    }
}
