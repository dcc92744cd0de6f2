import EventStore
package import LedgerCore
import Postgres

extension Feed {
    /// Runs `body` with the subscription of a name, which goes on behind what was acknowledged
    /// last, in whatever process that was.
    ///
    /// A name belongs to the database's user who took it first: no other can take it, or move it
    /// on.
    ///
    /// One process at a time has a name: another one waits here until the first is done, or has
    /// been gone for three seconds. Should the name be lost while `body` runs (Postgres was away
    /// for longer than that, and another took it), `body` is cancelled and ``SubscriptionTaken`` is
    /// thrown. What was given and not acknowledged is given again to whoever comes next.
    /// - Parameters:
    ///   - name: 1 to 200 characters.
    ///   - position: where a name that is new begins; `nil` for the end of the log.
    package func withSubscription<Value: Sendable>(
        named name: String, after position: Position? = 0, jobs: Set<JobID>? = nil, types: Set<EventType>? = nil,
        _ body: @escaping @Sendable (DurableSubscription) async throws -> Value
    ) async throws -> Value {
        let named = NamedSubscription(store: store, name: name)
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
                // Holding ends by an error only.
                return try await group.next()!!
            }
            await named.giveUp()
            return value
        } catch {
            await named.giveUp()
            throw error
        }
    }

    /// Forgets a name and what was acknowledged under it. False where there is none; an error while
    /// a process has it.
    @discardableResult
    package func forgetSubscription(named name: String) async throws -> Bool {
        try await store.pool.withConnection {
            try await $0.query("SELECT forget_subscription($1)", name).only().decode(0)
        }
    }
}

/// A subscription whose progress is kept in the ledger: see
/// ``Feed/withSubscription(named:after:jobs:types:_:)``.
package struct DurableSubscription: AsyncSequence, Sendable {
    package typealias Element = FeedEvent
    let events: Subscription
    let named: NamedSubscription

    package func makeAsyncIterator() -> Subscription.Iterator { events.makeAsyncIterator() }

    /// Notes down that everything up to `position` has been dealt with: after a restart the
    /// subscription goes on behind it. It never goes back; acknowledging less than before changes
    /// nothing. Each call is a small transaction: many events may share one.
    package func acknowledge(_ position: Position) async throws { try await named.acknowledge(position) }
}

/// Somebody else has the subscription's name now, or the ledger is another one: nothing can be
/// acknowledged any more.
package struct SubscriptionTaken: Error, Sendable, CustomStringConvertible {
    package let name: String
    package var description: String {
        "the subscription \(name) is not ours any more: another process has taken it over, or the ledger is another one"
    }
}

/// The row of a subscription in the ledger, and our right to it: see the table `subscriptions`.
struct NamedSubscription: Sendable {
    let store: EventStore
    let name: String
    /// Tells this holder from all others, and is known to nobody else: the ledger keeps its hash.
    /// 256 random bits.
    private let holder: String = {
        var generator = SystemRandomNumberGenerator()
        return (0..<4).map { _ in String(generator.next(), radix: 36) }.joined(separator: "-")
    }()

    /// Waits until nobody else has it.
    func wait(startingAfter position: Position?) async throws -> (position: Position, epoch: EventID) {
        while true {
            if let start = try await retryingPostgres({ try await take(startingAfter: position) }) { return start }
            try await Task.sleep(for: Lease.renewal / 2)
        }
    }

    /// Keeps it, until it is lost.
    func hold() async throws {
        while true {
            try await Task.sleep(for: Lease.renewal)
            // It is ours until somebody else has taken it: no reason to end while Postgres is away.
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

    /// Also when the task is cancelled, which is when it matters most. Where that fails, it runs
    /// out by itself.
    func giveUp() async {
        let task = Task {
            _ = try? await store.pool.withConnection {
                try await $0.query("SELECT release_subscription($1, $2)", name, holder)
            }
        }
        await task.value
    }

    private func take(startingAfter position: Position?) async throws -> (position: Position, epoch: EventID)? {
        let milliseconds = Int64(Lease.duration / .milliseconds(1))
        let rows = try await store.pool.withConnection {
            try await $0.query(
                "SELECT at_position, of_epoch FROM take_subscription($1, $2, make_interval(secs => $3::bigint / 1000.0), $4)",
                name, holder, milliseconds, position)
        }
        return try rows.first.map { (try $0.decode(0), try $0.decode(1)) }
    }
}
