internal import EventStore
internal import Feed
internal import LedgerCore
internal import Logging
internal import Redis

/// Brings the log's events to the hub as they come.
struct HubFeed: Sendable {
    let store: EventStore
    let redis: RedisConfiguration?
    let hub: StreamHub
    let logger: Logger
    private let stopping = StopSignal()

    init(store: EventStore, redis: RedisConfiguration?, hub: StreamHub, logger: Logger) {
        self.store = store
        self.redis = redis
        self.hub = hub
        self.logger = logger
    }

    func stop() { stopping.set() }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await stopping.wait() }
            group.addTask { await follow() }
            await group.next()
            group.cancelAll()
        }
    }

    private func follow() async {
        while !Task.isCancelled {
            do {
                try await Follower(store: store, redis: redis).follow(
                    EventQuery(after: hub.position, largestData: Frame.largestData)
                ) { event in
                    hub.publish([event], upTo: event.position)
                    return true
                }
            } catch is CancellationError {
                return
            } catch {
                logger.warning("following the log was interrupted, trying again", metadata: ["error": "\(error)"])
            }
        }
    }
}
