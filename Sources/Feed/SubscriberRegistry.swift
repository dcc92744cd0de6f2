import LedgerCore
import Redis

/// The subscriptions of this process, and the Redis channels that they need.
///
/// A subscription to one stream needs that stream's channel. A subscription to everything, to a
/// category, or to several streams in their common order, needs the pattern of all streams; while
/// there is one, no stream's channel is needed.
struct SubscriberRegistry {
    private let ledger: LedgerName
    private let topics: RedisTopics
    /// Subscriptions to all streams, of every category or of one.
    private(set) var everything: [SubscriptionBuffer] = []
    private(set) var several: [SubscriptionBuffer] = []
    /// Subscriptions to the stream, alone or among several.
    private(set) var byStream: [StreamKey: [SubscriptionBuffer]] = [:]
    private(set) var count = 0

    init(_ ledger: LedgerName, _ topics: RedisTopics) {
        self.ledger = ledger
        self.topics = topics
    }

    private var countingPositions: Int { everything.count + several.count }
    var countsVersions: Bool { count > countingPositions }
    var all: Set<SubscriptionBuffer> { Set(everything).union(byStream.values.joined()) }

    mutating func join(_ buffer: SubscriptionBuffer) {
        let wasEmpty = countingPositions == 0
        count += 1
        guard let streams = buffer.selection.streams else {
            everything.append(buffer)
            if wasEmpty { listenToPattern() }
            return
        }
        for stream in streams { byStream[stream, default: []].append(buffer) }
        if !buffer.countsVersions {
            several.append(buffer)
            if wasEmpty { listenToPattern() }
        } else if wasEmpty, let stream = streams.first, byStream[stream]?.count == 1 {
            topics.change { [ledger] in $0.channels.insert(ledger.channel(of: stream.category, stream.id)) }
        }
    }

    mutating func leave(_ buffer: SubscriptionBuffer) {
        count -= 1
        everything.removeAll { $0 === buffer }
        several.removeAll { $0 === buffer }
        let streams = buffer.selection.streams ?? []
        for stream in streams {
            byStream[stream]?.removeAll { $0 === buffer }
            if byStream[stream]?.isEmpty == true { byStream[stream] = nil }
        }
        guard countingPositions == 0 else { return }
        if !buffer.countsVersions {
            let channels = [ledger.headChannel] + byStream.keys.map { ledger.channel(of: $0.category, $0.id) }
            topics.change { $0 = RedisTopics.Names(channels: Set(channels)) }
        } else if let stream = streams.first, byStream[stream] == nil {
            topics.change { [ledger] in $0.channels.remove(ledger.channel(of: stream.category, stream.id)) }
        }
    }

    private func listenToPattern() {
        topics.change { [ledger] in
            $0 = RedisTopics.Names(channels: [ledger.headChannel], patterns: [ledger.everyStream])
        }
    }
}

extension SubscriptionBuffer: Hashable {
    static func == (one: SubscriptionBuffer, other: SubscriptionBuffer) -> Bool { one === other }
    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
