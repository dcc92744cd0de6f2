package import EventStore
package import LedgerCore
import Postgres

extension Feed {
    /// Runs `body` with the subscription of this name. It continues after the last acknowledged
    /// position, whichever process acknowledged it.
    ///
    /// The name belongs to the database user that took it first; no other user can take it or
    /// acknowledge under it.
    ///
    /// One process at a time holds a name. A second process waits here until the first is done or
    /// has been gone for the duration of `leaseTimes`. If the name is lost while `body` runs,
    /// because Postgres was away for longer than that and another process took it, `body` is
    /// cancelled and this throws ``SubscriptionTaken``. Events that were delivered but not
    /// acknowledged are delivered again to the next holder.
    /// - Parameters:
    ///   - name: 1 to 200 characters.
    ///   - position: where a new name begins; `nil` for the end of the log.
    ///   - leaseTimes: how long a holder that stopped renewing keeps the name, and how often a
    ///     holder renews it.
    package func withSubscription<Value: Sendable>(
        named name: String, after position: Position? = 0, jobs: Set<JobID>? = nil, types: Set<EventType>? = nil,
        leaseTimes: LeaseTimes = .standard,
        _ body: @escaping @Sendable (DurableSubscription) async throws -> Value
    ) async throws -> Value {
        let named = NamedSubscription(store: store, name: name, leaseTimes: leaseTimes)
        do {
            let start = try await named.wait(startingAfter: position)
            let subscription = DurableSubscription(
                events: subscribe(after: start.position, epoch: start.epoch, jobs: jobs, types: types), named: named)
            let value = try await withThrowingTaskGroup(of: Value?.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await body(subscription) }
                group.addTask {
                    try await named.hold()
                    return nil
                }
                // Holding ends only with an error.
                return try await group.next()!!
            }
            await named.giveUp()
            return value
        } catch {
            await named.giveUp()
            throw error
        }
    }

    /// Forgets a name and what was acknowledged under it. Returns false if there is no such name;
    /// throws while a process holds it.
    @discardableResult
    package func forgetSubscription(named name: String) async throws -> Bool {
        try await store.pool.withConnection {
            try await $0.query("SELECT forget_subscription($1)", name).only().decode(0)
        }
    }
}

/// A subscription whose progress the ledger keeps: see
/// ``Feed/withSubscription(named:after:jobs:types:leaseTimes:_:)``.
package struct DurableSubscription: AsyncSequence, Sendable {
    package typealias Element = FeedEvent
    let events: Subscription
    let named: NamedSubscription

    package func makeAsyncIterator() -> Subscription.Iterator { events.makeAsyncIterator() }

    /// Records that everything up to `position` has been processed: after a restart the
    /// subscription continues after it. Acknowledging a lower position than before changes nothing.
    /// Each call is a small transaction, so acknowledge once for many events where that is enough.
    package func acknowledge(_ position: Position) async throws { try await named.acknowledge(position) }
}

/// Another process holds the subscription's name now, or the ledger was replaced: nothing can be
/// acknowledged any more.
package struct SubscriptionTaken: Error, Sendable, CustomStringConvertible {
    package let name: String
    package var description: String {
        "this process no longer holds the subscription \(name): another process has taken it over, "
            + "or the ledger was restored or re-created"
    }
}

/// The ledger's row for a named subscription, and this process's claim to it: see the table
/// `subscriptions`.
struct NamedSubscription: Sendable {
    let store: EventStore
    let name: String
    let leaseTimes: LeaseTimes
    /// Identifies this holder: 256 random bits. Nobody else knows it, for the ledger keeps only its
    /// hash.
    private let holder: String = {
        var generator = SystemRandomNumberGenerator()
        return (0..<4).map { _ in String(generator.next(), radix: 36) }.joined(separator: "-")
    }()

    /// Waits until no other process holds the name, then takes it.
    func wait(startingAfter position: Position?) async throws -> (position: Position, epoch: EventID) {
        while true {
            if let start = try await retryingPostgres({ try await take(startingAfter: position) }) { return start }
            try await Task.sleep(for: leaseTimes.retry)
        }
    }

    /// Renews the claim until it is lost.
    func hold() async throws {
        while true {
            try await Task.sleep(for: leaseTimes.renewal)
            // The claim holds until another process takes the name, so an outage of Postgres does
            // not end it.
            guard try await retryingPostgres({ try await take(startingAfter: 0) }) != nil else {
                throw SubscriptionTaken(name: name)
            }
        }
    }

    func acknowledge(_ position: Position) async throws {
        let isOurs: Bool = try await retryingPostgres {
            try await store.pool.withConnection {
                try await $0.query("SELECT acknowledge($1, $2, $3)", name, holder, position).only().decode(0)
            }
        }
        if !isOurs { throw SubscriptionTaken(name: name) }
    }

    /// Gives the claim up in a task of its own, so that cancellation does not prevent it. If that
    /// fails, the claim expires by itself.
    func giveUp() async {
        let task = Task {
            _ = try? await store.pool.withConnection {
                try await $0.query("SELECT release_subscription($1, $2)", name, holder)
            }
        }
        await task.value
    }

    private static let takeStatement = """
        SELECT at_position, of_epoch
          FROM take_subscription($1, $2, make_interval(secs => $3::bigint / 1000.0), $4)
        """

    private func take(startingAfter position: Position?) async throws -> (position: Position, epoch: EventID)? {
        let rows = try await store.pool.withConnection {
            try await $0.query(Self.takeStatement, name, holder, leaseTimes.milliseconds, position)
        }
        return try rows.first.map { (try $0.decode(0), try $0.decode(1)) }
    }
}
