import EventStore
import Feed
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Named subscriptions, whose progress the ledger keeps.
@Suite(.timeLimit(.minutes(10))) struct DurableTests {
    private static func fill(_ ledger: TestLedger, _ count: Int) async throws {
        try await ledger.queue("a")
        for number in 1..<count { try await ledger.progress("a", number) }
    }

    /// Takes `count` events and acknowledges those at even positions.
    private static func take(
        _ count: Int, _ feed: Feed, named name: String, acknowledge: Bool = true, leaseTimes: LeaseTimes = .standard
    ) async throws -> [Position] {
        try await feed.withSubscription(named: name, leaseTimes: leaseTimes) { subscription in
            var positions: [Position] = []
            for try await event in subscription {
                positions.append(event.position)
                if acknowledge, event.position.isMultiple(of: 2) { try await subscription.acknowledge(event.position) }
                if positions.count == count { break }
            }
            return positions
        }
    }

    @Test func continuesAfterWhatWasAcknowledged() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger, 10)
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                #expect(try await Self.take(5, feed, named: "mail") == [1, 2, 3, 4, 5])
            }
            // Another process.
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                #expect(try await Self.take(2, feed, named: "mail", acknowledge: false) == [5, 6])
                #expect(try await Self.take(3, feed, named: "mail") == [5, 6, 7])
                #expect(try await Self.take(2, feed, named: "other") == [1, 2])
                // An acknowledgement never moves backward.
                try await feed.withSubscription(named: "mail") { try await $0.acknowledge(3) }
                #expect(try await Self.take(1, feed, named: "mail") == [7])
                #expect(try await feed.forgetSubscription(named: "mail"))
                #expect(try await feed.forgetSubscription(named: "mail") == false)
                #expect(try await Self.take(1, feed, named: "mail") == [1])
            }
        }
    }

    /// A killed holder releases nothing: its claim expires, another takes the name, and the killed
    /// one can do nothing any more.
    @Test func isTakenOverFromAKilledHolder() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger, 4)
            let expiry = try await ledger.store.pool.withConnection {
                try await $0.query(
                    "SELECT take_subscription('mail', 'the holder that was killed, at random', '300 ms', 0)")
                try await $0.query("SELECT acknowledge('mail', 'the holder that was killed, at random', 2)")
                return try await $0.query("SELECT expires_at::text FROM subscriptions").only().decode(
                    0, as: String.self)
            }
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                let positions = try await feed.withSubscription(named: "mail", leaseTimes: .kept) { subscription in
                    let hasExpired = try await ledger.store.pool.withConnection {
                        try await $0.query("SELECT clock_timestamp() > $1::text::timestamptz", expiry).only()
                            .decode(0, as: Bool.self)
                    }
                    #expect(hasExpired, "taken before the claim of the killed holder had expired")
                    // Two holders, and only the second can acknowledge.
                    let isAcknowledged = try await ledger.store.pool.withConnection {
                        try await $0.query("SELECT acknowledge('mail', 'the holder that was killed, at random', 4)")
                            .only()
                            .decode(0, as: Bool.self)
                    }
                    #expect(!isAcknowledged)
                    var positions: [Position] = []
                    for try await event in subscription {
                        positions.append(event.position)
                        if positions.count == 2 { break }
                    }
                    try await subscription.acknowledge(3)
                    return positions
                }
                #expect(positions == [3, 4])
                #expect(try await Self.take(1, feed, named: "mail") == [4])
            }
        }
    }

    private struct Claim: Equatable {
        var holder: String
        /// In microseconds.
        var expiry: Int64
    }

    private static func claim(_ ledger: TestLedger) async throws -> Claim {
        try await ledger.store.pool.withConnection {
            let row = try await $0.query(
                "SELECT holder, (extract(epoch FROM expires_at) * 1000000)::bigint FROM subscriptions"
            ).only()
            return Claim(holder: try row.decode(0), expiry: try row.decode(1))
        }
    }

    /// The first holder renews its claim and keeps it, and the second waits until the first is
    /// done. The claim lasts half a minute, so a busy machine, whose renewals come late, does not
    /// end it.
    @Test func aSecondHolderWaitsForTheFirst() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger, 4)
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                try await ledger.withFeed(nil, poll: .milliseconds(20)) { otherFeed async throws in
                    let (goOn, signal) = AsyncStream.makeStream(of: Void.self)
                    let (begun, hasBegun) = AsyncStream.makeStream(of: Void.self)
                    let first = Task {
                        try await feed.withSubscription(named: "mail", leaseTimes: .kept) {
                            subscription in
                            hasBegun.yield()
                            for await _ in goOn { break }
                            try await subscription.acknowledge(2)
                        }
                    }
                    for await _ in begun { break }
                    let before = try await Self.claim(ledger)
                    let second = Task { try await Self.take(1, otherFeed, named: "mail", leaseTimes: .kept) }
                    // The second tries to take the name every 50 ms meanwhile.
                    let after: Claim = try await eventually("the claim is renewed for 300 ms, or lost") {
                        let claim = try await Self.claim(ledger)
                        return claim.expiry >= before.expiry + 300_000 || claim.holder != before.holder ? claim : nil
                    }
                    #expect(after.holder == before.holder, "two hold the name at once")
                    await #expect(throws: PostgresError.self) { try await otherFeed.forgetSubscription(named: "mail") }
                    signal.yield()
                    try await first.value
                    #expect(try await second.value == [3])
                }
            }
        }
    }

    /// A replaced holder learns that it was replaced, and cannot move the position of its
    /// successor.
    @Test func aReplacedHolderFailsAndChangesNothing() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger, 4)
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                await #expect(throws: SubscriptionTaken.self) {
                    try await feed.withSubscription(named: "mail", leaseTimes: .kept) { subscription in
                        // As if this process had been suspended for a long time. In a task of its
                        // own, because a renewal that notices the replacement cancels this one.
                        let acknowledging = Task {
                            try await Self.replace(ledger)
                            try await subscription.acknowledge(4)
                        }
                        guard case .failure(is SubscriptionTaken) = await acknowledging.result else {
                            Issue.record("acknowledged although another holds the name")
                            return
                        }
                        // The renewal notices too, and ends this wait.
                        for try await event in subscription where event.position > 100 {}
                    }
                }
                let row = try await ledger.store.pool.withConnection {
                    try await $0.query("SELECT position, holder FROM subscriptions").only()
                }
                #expect(
                    try row.decode(0, as: Position.self) == 0
                        && row.decode(1, as: String.self) == String(repeating: "0", count: 64))
            }
        }
    }

    private static func replace(_ ledger: TestLedger) async throws {
        _ = try await ledger.store.pool.withConnection {
            try await $0.query(
                "UPDATE subscriptions SET holder = repeat('0', 64), expires_at = clock_timestamp() + interval '59 s'")
        }
    }

    /// What was acknowledged is below the first position of the new epoch.
    @Test func continuesInANewEpochThatLostNothing() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger, 4)
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                #expect(try await Self.take(2, feed, named: "mail") == [1, 2])
                try await ledger.beginEpoch()
                try await ledger.progress("a", 5)
                #expect(try await Self.take(3, feed, named: "mail") == [3, 4, 5])
                // Position 4 was acknowledged, which took over the new epoch.
                try await ledger.beginEpoch()
                #expect(try await Self.take(1, feed, named: "mail") == [5])
            }
        }
    }

    /// What was acknowledged is gone.
    @Test func endsWhereTheLogDiverged() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger, 8)
            let old = try await ledger.epochDigits()
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                #expect(try await Self.take(6, feed, named: "mail") == Array(1...6))
                try await ledger.lose(after: 3)
                for count in 20...24 { try await ledger.progress("a", count) }
                let new = try await ledger.epochDigits()
                let expected = Divergence(place: Place(6, epoch: old), shared: Place(3, epoch: new), head: 8)
                // Each holder meets it, until one goes on.
                for _ in 1...2 {
                    let divergence = await #expect(throws: Divergence.self) {
                        try await Self.take(1, feed, named: "mail")
                    }
                    #expect(divergence == expected)
                }
                // It cannot be acknowledged away either.
                await #expect(throws: SubscriptionTaken.self) {
                    try await feed.withSubscription(named: "mail") { try await $0.acknowledge(7) }
                }
                let (told, tell) = AsyncStream.makeStream(of: Divergence.self)
                let positions = try await feed.withSubscription(
                    named: "mail", onDivergence: .goOn { tell.yield($0) }
                ) { subscription in
                    var positions: [Position] = []
                    for try await event in subscription {
                        positions.append(event.position)
                        if positions.count == 3 { break }
                    }
                    try await subscription.acknowledge(5)
                    return positions
                }
                #expect(positions == [4, 5, 6])
                tell.finish()
                let all: [Divergence] = await told.reduce(into: []) { $0.append($1) }
                #expect(all == [expected])
                #expect(try await Self.take(1, feed, named: "mail") == [6])
            }
        }
    }

    /// An event of the lost history cannot be acknowledged in the history that survived, even where
    /// that has come to the same position.
    @Test func doesNotAcknowledgeWhatIsGone() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger, 8)
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                await #expect(throws: SubscriptionTaken.self) {
                    try await feed.withSubscription(named: "mail") { subscription in
                        var events = subscription.makeAsyncIterator()
                        for _ in 1...6 { _ = try await events.next() }
                        try await subscription.acknowledge(2)
                        try await ledger.lose(after: 3)
                        for count in 20...24 { try await ledger.progress("a", count) }
                        try await subscription.acknowledge(6)
                    }
                }
                #expect(try await Self.take(1, feed, named: "mail") == [3])
            }
        }
    }

    @Test func badInputIsRefused() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger, 4)
            try await ledger.withFeed(nil, poll: .milliseconds(20)) { feed async throws in
                for name in ["", String(repeating: "x", count: 201)] {
                    await #expect(throws: PostgresError.self) { try await feed.withSubscription(named: name) { _ in } }
                }
                await #expect(throws: PostgresError.self) {
                    try await feed.withSubscription(named: "x", after: 5) { _ in }
                }
                await #expect(throws: PostgresError.self) {
                    try await feed.withSubscription(named: "x") { try await $0.acknowledge(5) }
                }
                #expect(try await feed.withSubscription(named: "new", after: nil) { _ in 1 } == 1)
            }
        }
    }

    /// The subscriber role can read the log and record its own progress, and nothing else.
    @Test func aSubscribersRoleIsEnough() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger, 4)
            let connection = try await ledger.connect()
            try await connection.execute(script: "SET ROLE \"\(ledger.name)_subscriber\"")
            let me = "a secret of a holder, made at random"
            for allowed in [
                "SELECT take_subscription('mail', '\(me)', '3 s', 0)", "SELECT acknowledge('mail', '\(me)', 2)",
                "SELECT release_subscription('mail', '\(me)')", "SELECT forget_subscription('mail')",
                "SELECT position FROM subscriptions", "SELECT head(), epoch FROM ledger", "SELECT position FROM events",
            ] {
                try await connection.query(PostgresStatement(allowed))
            }
            for forbidden in [
                "UPDATE subscriptions SET position = 0", "INSERT INTO subscriptions VALUES ('x')",
                "DELETE FROM subscriptions",
                "SELECT advance_checkpoint('relay', 0, 1)", "SELECT take_lease('relay', 'me', '3 s')",
                "SELECT begin_epoch()",
                "DELETE FROM events", "SELECT append_event('a', 'finished')",
            ] {
                await #expect(throws: PostgresError.self, "\(forbidden)") {
                    try await connection.query(PostgresStatement(forbidden))
                }
            }
            await connection.close()
        }
    }
}
