import BlockingIO
import EmbeddedServices
import EventStore
import Feed
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Testing

/// What reads a ledger that demands quorum: nobody is shown what a failover may take back, also not
/// what a cancelled wait or a crash has made visible.
@Suite(.timeLimit(.minutes(10)), .serialized) struct DurableReadersTests {
    @Test func aSubscriptionHoldsBackWhatIsNotDurable() async throws {
        try await ReplicatedLedger.with { replicated in
            let store = replicated.ledger.store
            try await store.demand(.quorum)
            try await replicated.ledger.queue("a")
            try await Feed.with(store: store, redis: nil, logger: Logger(label: "test")) { feed in
                var events = feed.subscribe(after: 0).makeAsyncIterator()
                #expect(try await events.next()?.position == 1)
                let unseen = try await replicated.appendUnseen()
                #expect(unseen == 2)
                let received = Locked<Position?>(nil)
                let next = Task {
                    var events = feed.subscribe(after: 1).makeAsyncIterator()
                    let position = try await events.next()?.position
                    received.withLock { $0 = position }
                    return position
                }
                // It has read the event, and asks the standbys.
                _ = try await eventually("the subscription waits for the standbys") {
                    try await replicated.waiting() > 0 ? true : nil
                }
                #expect(await store.confirmations.longestWait > .zero)
                #expect(received.withLock { $0 } == nil)
                try await replicated.waitForStandbys("standby")
                #expect(try await next.value == 2)
            }
        }
    }

    /// A proxy leads to a standby for a while, as during a switchover. The standby has the events,
    /// and cannot know who else has.
    @Test func aSubscriptionLeavesAStandby() async throws {
        try await ReplicatedLedger.with { replicated in
            try await replicated.ledger.store.demand(.quorum)
            try await replicated.ledger.queue("a")
            let proxy = try CuttingProxy(before: replicated.standby.url)
            let store = EventStore(
                url: proxy.address(insteadOf: replicated.ledger.url), ledger: replicated.ledger.name)
            _ = try await eventually("the standby has the event") { try await store.head() == 1 ? true : nil }
            func first(waiting patience: Duration) async throws -> Position? {
                let feed = Feed(store: store, redis: nil, standbyPatience: patience, logger: Logger(label: "test"))
                let running = Task { await feed.run() }
                defer { running.cancel() }
                var events = feed.subscribe(after: 0).makeAsyncIterator()
                return try await events.next()?.position
            }
            await #expect(throws: StandbyReadsEarly.self) { try await first(waiting: .milliseconds(20)) }
            let waiting = Task { try await first(waiting: .seconds(600)) }
            // It has read there, and left the session.
            _ = try await eventually("sessions with the standby come and go") {
                try await replicated.sessionsOfStandby() > 5 ? true : nil
            }
            proxy.lead(to: replicated.ledger.url)
            #expect(try await waiting.value == 1)
            await store.close()
            proxy.stop()
        }
    }

    @Test func aRelayPublishesOnlyWhatIsDurable() async throws {
        try await ReplicatedLedger.with { replicated in
            let store = replicated.ledger.store
            try await store.demand(.quorum)
            try await replicated.ledger.queue("a")
            let relay = Relay(
                store: store, url: replicated.ledger.url, redis: try await TestServers.shared.redis(),
                logger: Logger(label: "test"))
            let running = Task { await relay.run() }
            defer { running.cancel() }
            let checkpoint = Checkpoint(Relay.reader)
            func published() async throws -> Position {
                try await store.pool.withConnection { try await checkpoint.load(on: $0) }
            }
            _ = try await eventually("the first is published") { try await published() == 1 ? true : nil }
            _ = try await replicated.appendUnseen()
            _ = try await eventually("the relay asks the standbys") {
                try await replicated.waiting() > 0 ? true : nil
            }
            #expect(try await published() == 1)
            try await replicated.waitForStandbys("standby")
            _ = try await eventually("the second is published") { try await published() == 2 ? true : nil }
            running.cancel()
            await running.value
        }
    }
}
