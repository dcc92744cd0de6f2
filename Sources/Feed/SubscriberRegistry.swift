import LedgerCore
import Redis

/// The subscriptions of this process, and the Redis channels that they need.
///
/// A subscription to one job needs that job's channel. A subscription to everything, or to several
/// jobs in their common order, needs the pattern of all jobs; while there is one, no job's channel
/// is needed.
struct SubscriberRegistry {
    private let ledger: LedgerName
    private let topics: RedisTopics
    private(set) var everything: [SubscriptionBuffer] = []
    private(set) var several: [SubscriptionBuffer] = []
    /// Subscriptions to the job, alone or among several.
    private(set) var byJob: [JobID: [SubscriptionBuffer]] = [:]
    private(set) var count = 0

    init(_ ledger: LedgerName, _ topics: RedisTopics) {
        self.ledger = ledger
        self.topics = topics
    }

    private var countingPositions: Int { everything.count + several.count }
    var countsVersions: Bool { count > countingPositions }
    var all: Set<SubscriptionBuffer> { Set(everything).union(byJob.values.joined()) }

    mutating func join(_ buffer: SubscriptionBuffer) {
        let wasEmpty = countingPositions == 0
        count += 1
        guard let jobs = buffer.selection.jobs else {
            everything.append(buffer)
            if wasEmpty { listenToPattern() }
            return
        }
        for job in jobs { byJob[job, default: []].append(buffer) }
        if !buffer.countsVersions {
            several.append(buffer)
            if wasEmpty { listenToPattern() }
        } else if wasEmpty, let job = buffer.selection.onlyJob, byJob[job]?.count == 1 {
            topics.change { [ledger] in $0.channels.insert(ledger.channel(ofJob: job)) }
        }
    }

    mutating func leave(_ buffer: SubscriptionBuffer) {
        count -= 1
        everything.removeAll { $0 === buffer }
        several.removeAll { $0 === buffer }
        for job in buffer.selection.jobs ?? [] {
            byJob[job]?.removeAll { $0 === buffer }
            if byJob[job]?.isEmpty == true { byJob[job] = nil }
        }
        guard countingPositions == 0 else { return }
        if !buffer.countsVersions {
            let channels = [ledger.headChannel] + byJob.keys.map(ledger.channel(ofJob:))
            topics.change { $0 = RedisTopics.Names(channels: Set(channels)) }
        } else if let job = buffer.selection.onlyJob, byJob[job] == nil {
            topics.change { [ledger] in $0.channels.remove(ledger.channel(ofJob: job)) }
        }
    }

    private func listenToPattern() {
        topics.change { [ledger] in $0 = RedisTopics.Names(channels: [ledger.headChannel], patterns: [ledger.everyJob])
        }
    }
}

extension SubscriptionBuffer: Hashable {
    static func == (one: SubscriptionBuffer, other: SubscriptionBuffer) -> Bool { one === other }
    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
