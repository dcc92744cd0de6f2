import EventStore
import LedgerCore
import Postgres

/// Events as they come, from a position on: each once, in order. Made by ``Feed/subscribe(after:epoch:jobs:types:)``.
///
/// Each iterator is a subscriber by itself. It throws ``AnotherEpoch``, ``FeedStopped``, what Postgres answers that waiting does not
/// mend, and `CancellationError` when the task is cancelled. It ends by itself only where one job is followed, behind the job's last event.
public struct Subscription: AsyncSequence, Sendable {
    public typealias Element = FeedEvent
    let feed: Feed
    let after: Position?
    let epoch: EventID?
    let jobs: Set<String>?
    let types: Set<EventType>?
    let endsWithJob: Bool

    public func makeAsyncIterator() -> Iterator { Iterator(self) }

    public struct Iterator: AsyncIteratorProtocol {
        private let subscription: Subscription
        private var items: [FeedEvent] = []
        private var position: Position

        init(_ subscription: Subscription) {
            self.subscription = subscription
            position = subscription.after ?? 0
        }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws -> FeedEvent? {
            if items.isEmpty { items = try await read(isolation: actor).reversed() }
            return items.popLast()
        }

        /// All events that are there, one at least; `nil` at the end. What `next` would give one by one.
        public mutating func nextBatch(isolation actor: isolated (any Actor)? = #isolation) async throws -> [FeedEvent]? {
            if items.isEmpty { items = try await read(isolation: actor).reversed() }
            defer { items = [] }
            return items.isEmpty ? nil : items.reversed()
        }

        private mutating func read(isolation actor: isolated (any Actor)?) async throws -> [FeedEvent] {
            while true {
                let query = EventQuery(after: position, job: subscription.jobs?.first, types: subscription.types, limit: 100)
                let events = try await subscription.feed.store.page(query)
                if let last = events.last {
                    position = last.position
                    return events.map { FeedEvent($0, of: subscription.feed.store.ledger) }
                }
                try await Task.sleep(for: subscription.feed.poll)
            }
        }
    }
}
