import BlockingIO
package import EventStore
package import LedgerCore
import Postgres

extension Feed {
    /// Runs `body` with the subscription of this name. It continues after the last acknowledged
    /// position, whichever process acknowledged it. It also continues in a new epoch of the ledger,
    /// if the ledger still has what was acknowledged.
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
    ///   - category: `nil` for the events of every category; but with `jobs` or `types`, which are
    ///     of jobs then, for those of jobs.
    ///   - jobs: the streams of the category; `nil` for all.
    ///   - types: `nil` for all.
    ///   - leaseTimes: how long a holder that stopped renewing keeps the name, and how often a
    ///     holder renews it.
    ///   - divergence: what to do once the ledger no longer has all that the subscription has.
    package func withSubscription<Value: Sendable>(
        named name: String, after position: Position? = 0, category: Category? = nil, jobs: Set<JobID>? = nil,
        types: Set<EventType>? = nil, leaseTimes: LeaseTimes = .standard,
        onDivergence divergence: DivergencePolicy = .fail,
        _ body: @escaping @Sendable (DurableSubscription) async throws -> Value
    ) async throws -> Value {
        let named = NamedSubscription(store: store, name: name, leaseTimes: leaseTimes)
        do {
            let start = try await named.wait(startingAfter: position)
            let subscription = DurableSubscription(
                feed: self, selection: Selection(category: category, jobs: jobs, types: types), start: start,
                named: named, divergence: divergence)
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
/// ``Feed/withSubscription(named:after:category:jobs:types:leaseTimes:onDivergence:_:)``.
package struct DurableSubscription: AsyncSequence, Sendable {
    package typealias Element = FeedEvent
    let feed: Feed
    let selection: Selection
    let start: Place
    let named: NamedSubscription
    let divergence: DivergencePolicy
    /// The epoch of the events that were delivered last; `nil` before the first.
    private let epoch = Locked<EpochDigits?>(nil)

    init(
        feed: Feed, selection: Selection, start: Place, named: NamedSubscription, divergence: DivergencePolicy
    ) {
        self.feed = feed
        self.selection = selection
        self.start = start
        self.named = named
        self.divergence = divergence
    }

    package func makeAsyncIterator() -> Iterator {
        Iterator(subscription: self, events: events(after: start).makeAsyncIterator())
    }

    private func events(after place: Place) -> Subscription { Subscription(feed: feed, selection, after: place) }

    package struct Iterator: AsyncIteratorProtocol {
        let subscription: DurableSubscription
        var events: Subscription.Iterator

        package mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws -> FeedEvent? {
            while true {
                do {
                    let event = try await events.next(isolation: actor)
                    let epoch = events.epoch
                    subscription.epoch.withLock { $0 = epoch }
                    return event
                } catch let divergence as Divergence {
                    guard case .goOn(let handle) = subscription.divergence else { throw divergence }
                    try await handle(divergence)
                    try await subscription.named.rejoin()
                    events = subscription.events(after: divergence.shared).makeAsyncIterator()
                }
            }
        }
    }

    /// Records that everything up to `position` has been processed: after a restart the
    /// subscription continues after it. Acknowledging a lower position than before changes nothing.
    /// Each call is a small transaction, so acknowledge once for many events where that is enough.
    /// - Throws: ``SubscriptionTaken``
    package func acknowledge(_ position: Position) async throws {
        try await named.acknowledge(Place(position, epoch: epoch.withLock { $0 }))
    }
}

/// What a ``DurableSubscription`` does with a ``Divergence``.
package enum DivergencePolicy: Sendable {
    /// It throws the divergence. The ledger keeps what was acknowledged, so that the next holder of
    /// the name meets the divergence, too.
    case fail
    /// It calls the function, which undoes what came of the lost events. Then it goes on after the
    /// last place that both histories have in common.
    case goOn(@Sendable (Divergence) async throws -> Void)
}

/// Another process holds the subscription's name now, or the ledger no longer has what would be
/// acknowledged: nothing can be acknowledged any more.
package struct SubscriptionTaken: Error, Sendable, CustomStringConvertible {
    package let name: String
    package var description: String {
        "this process no longer holds the subscription \(name): another process has taken it over, "
            + "or the ledger lost events that it had"
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
    func wait(startingAfter position: Position?) async throws -> Place {
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

    func acknowledge(_ place: Place) async throws {
        let isOurs: Bool = try await retryingPostgres {
            try await store.pool.withConnection {
                try await $0.query(
                    "SELECT acknowledge($1, $2, $3, $4)", name, holder, place.position, place.epoch?.text
                ).only().decode(0)
            }
        }
        if !isOurs { throw SubscriptionTaken(name: name) }
    }

    /// Moves what was acknowledged back to what the ledger still has.
    func rejoin() async throws {
        let isOurs = try await retryingPostgres {
            try await store.pool.withConnection {
                try await $0.query("SELECT at_position FROM rejoin_subscription($1, $2)", name, holder).count == 1
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

    private func take(startingAfter position: Position?) async throws -> Place? {
        let rows = try await store.pool.withConnection {
            try await $0.query(Self.takeStatement, name, holder, leaseTimes.milliseconds, position)
        }
        return try rows.first.map { Place(try $0.decode(0), epoch: EpochDigits(try $0.decode(1, as: EventID.self))) }
    }
}
