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
    var era = 0
    /// Everything of the jobs up to here has been told to their subscriptions; `nil` where that is
    /// not known.
    var told: Position?
    var last: ContinuousClock.Instant?
    /// Whether to ask for the head itself, whatever Redis says: for a channel that is listened to
    /// from now on.
    var isUrgent = true
    /// Whether that also concerns who counts positions: for the pattern.
    var concernsPattern = true
    /// Those that have joined since the question was put: it was not put for them.
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
    private static let longestStretch: Int64 = 100_000
    /// The epoch is asked for this often, whatever Redis says.
    private static let longestTrust = Duration.seconds(1)

    func keepPolling() async {
        var isAway = false
        for await _ in wakes {
            guard let question = question() else { continue }
            let start = ContinuousClock.now
            do {
                try await ask(question)
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

    private struct Question {
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
    private func question() -> Question? {
        state.withLock { state in
            let now = ContinuousClock.now
            let told = state.receivedSpan.told(at: now)
            // How far Postgres went when it was asked last should have been told by now. Where it
            // was not, the beats are late, or somebody holds back messages and repeats old beats:
            // what was there then is asked for all the same.
            let isHeldBack = told.map { $0 < state.polling.head } ?? false
            let upTo = state.polling.isUrgent ? nil : told.map { max($0, state.polling.head) }
            if let upTo, let last = state.polling.last, last.duration(to: now) < Self.longestTrust {
                guard state.subscribers.countsVersions, upTo > state.polling.told ?? -1 else { return nil }
            }
            // Nobody is there, and who comes looks for itself.
            guard state.subscribers.count > 0 || state.polling.epoch == nil else {
                state.polling.told = nil
                return nil
            }
            let question = Question(
                jobs: Array(state.subscribers.byJob.keys), after: state.polling.told, upTo: upTo,
                concernsPositions: told == nil || isHeldBack || state.polling.isUrgent && state.polling.concernsPattern)
            state.polling.last = now
            (state.polling.isUrgent, state.polling.concernsPattern) = (false, false)
            state.polling.newcomers = []
            return question
        }
    }

    private func ask(_ question: Question) async throws {
        // Of no jobs there is nothing to search for.
        let after = question.jobs.isEmpty ? .max : question.after ?? .max
        let news = try await store.news(of: question.jobs, after: after, upTo: question.upTo, most: Self.longestStretch)
        let upTo = question.upTo ?? news.head
        let (subscribers, isAnotherLedger, newcomers) = state.withLock { state in
            let isShorter = news.head < state.polling.head
            let isAnother = isShorter || state.polling.epoch.map { $0 != news.epoch } ?? false
            (state.polling.epoch, state.polling.head) = (news.epoch, news.head)
            if state.polling.code?.isOf(news.secret, news.epoch) != true {
                state.polling.code = MessageCode(secret: news.secret, ledger: store.ledger, epoch: news.epoch)
            }
            // Another ledger's positions are not those that were told. A replica may not have come
            // to where the beat is.
            state.polling.told = isAnother ? nil : max(min(upTo, news.head), question.after ?? 0)
            if isAnother { state.receivedSpan.cut() }
            if isShorter { state.polling.era += 1 }
            return (state.subscribers, isAnother, Set(state.polling.newcomers))
        }
        let isPublished = question.upTo != nil
        for buffer in subscribers.all where !buffer.suspectGap(unlessOf: news.epoch) {
            if isAnotherLedger || newcomers.contains(buffer) {
                buffer.suspectGap()
            } else if buffer.selection.jobs == nil {
                if question.concernsPositions { buffer.announce(upTo: upTo, shouldBeKnown: false) }
            } else if buffer.countsVersions || question.concernsPositions {
                announce(to: buffer, news, from: question.after, upTo: upTo, isPublished: isPublished)
            }
        }
    }

    private func announce(
        to buffer: SubscriptionBuffer, _ news: EventStore.News, from after: Position?, upTo: Position, isPublished: Bool
    ) {
        guard let after, news.head - after <= Self.longestStretch else { return buffer.suspectGap() }
        let newest = (buffer.selection.jobs ?? []).compactMap { news.jobs[$0] }.max { $0.position < $1.position }
        if let newest {
            buffer.announce(
                upTo: buffer.countsVersions ? Int64(newest.version) : newest.position, shouldBeKnown: isPublished)
        } else if !buffer.countsVersions {
            buffer.pass(from: after, upTo: upTo)
        }
    }
}
