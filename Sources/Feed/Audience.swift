import LedgerCore
import Redis

/// Who subscribes to what in this process, and which channels that takes.
///
/// Whoever follows one job needs that job's channel. Whoever follows everything, or several jobs in their common order, needs the pattern of
/// all jobs; while there is somebody, nobody needs a channel of a job.
struct Audience {
    private let ledger: LedgerName
    private let topics: RedisTopics
    private(set) var everything: [Inbox] = []
    private(set) var several: [Inbox] = []
    /// Those that follow the job, alone or among several.
    private(set) var byJob: [JobID: [Inbox]] = [:]
    private(set) var count = 0

    init(_ ledger: LedgerName, _ topics: RedisTopics) {
        self.ledger = ledger
        self.topics = topics
    }

    private var countingPositions: Int { everything.count + several.count }
    var countsVersions: Bool { count > countingPositions }
    var all: Set<Inbox> { Set(everything).union(byJob.values.joined()) }

    mutating func join(_ inbox: Inbox) {
        let wasEmpty = countingPositions == 0
        count += 1
        guard let jobs = inbox.selection.jobs else {
            everything.append(inbox)
            if wasEmpty { listenToPattern() }
            return
        }
        for job in jobs { byJob[job, default: []].append(inbox) }
        if !inbox.countsVersions {
            several.append(inbox)
            if wasEmpty { listenToPattern() }
        } else if wasEmpty, let job = inbox.selection.onlyJob, byJob[job]?.count == 1 {
            topics.change { [ledger] in $0.channels.insert(ledger.channel(ofJob: job)) }
        }
    }

    mutating func leave(_ inbox: Inbox) {
        count -= 1
        everything.removeAll { $0 === inbox }
        several.removeAll { $0 === inbox }
        for job in inbox.selection.jobs ?? [] {
            byJob[job]?.removeAll { $0 === inbox }
            if byJob[job]?.isEmpty == true { byJob[job] = nil }
        }
        guard countingPositions == 0 else { return }
        if !inbox.countsVersions {
            let channels = [ledger.headChannel] + byJob.keys.map(ledger.channel(ofJob:))
            topics.change { $0 = RedisTopics.Names(channels: Set(channels)) }
        } else if let job = inbox.selection.onlyJob, byJob[job] == nil {
            topics.change { [ledger] in $0.channels.remove(ledger.channel(ofJob: job)) }
        }
    }

    private func listenToPattern() {
        topics.change { [ledger] in $0 = RedisTopics.Names(channels: [ledger.headChannel], patterns: [ledger.everyJob]) }
    }
}

extension Inbox: Hashable {
    static func == (one: Inbox, other: Inbox) -> Bool { one === other }
    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
