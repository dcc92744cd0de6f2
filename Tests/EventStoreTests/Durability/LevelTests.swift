import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// The levels of durability: what an append answers, and what a ledger that demands quorum refuses
/// to acknowledge.
@Suite(.timeLimit(.minutes(10)), .serialized) struct LevelTests {
    private static let queued = "SELECT position FROM append_event('sql', 'queued', '{\"name\":\"x\"}')"
    private static let progress = "SELECT position FROM append_event('sql', 'progress', '{\"completed\":1}')"

    @Test func anAppendAnswersTheLevelThatItHasReached() async throws {
        try await ReplicatedLedger.with { replicated in
            let ledger = replicated.ledger
            #expect(try await ledger.queue("a").durability == .quorum)
            try await replicated.waitForStandbys("")
            let alone = EventStore(url: ledger.url, ledger: ledger.name)
            #expect(try await alone.append(.queued, to: "b").durability == .local)
            // Where there are no standbys, waiting is refused at once, and nothing is written.
            let head = try await alone.head()
            let error = await #expect(throws: NotConfirmed.self) {
                try await alone.append(.queued, to: "c", atLeast: .quorum, timeout: .seconds(600))
            }
            #expect(error?.reason?.contains("JL022") == true, "\(error!)")
            #expect(try await alone.head() == head)
            await alone.close()
            try await replicated.waitForStandbys("standby")
        }
    }

    @Test func aCallerMayWaitForALevel() async throws {
        try await ReplicatedLedger.with { replicated in
            let ledger = replicated.ledger
            // A role whose commits do not wait.
            try await replicated.execute(script: "ALTER ROLE jobledger SET synchronous_commit = local")
            let store = EventStore(url: ledger.url, ledger: ledger.name)
            #expect(try await store.append(.queued, to: "a").durability == .local)
            #expect(try await store.append(.queued, to: "b", atLeast: .quorum).durability == .quorum)
            try await store.withGroupCommit(.patient) { commits in
                #expect(try await commits.append(.queue("c"), atLeast: .quorum)[0].durability == .quorum)
                try await replicated.loseStandby()
                let request = AppendRequest.queue("d")
                // Longer than a busy machine needs for the append, which the limit holds for too.
                let error = await #expect(throws: NotDurable.self) {
                    try await commits.append(request, atLeast: .quorum, within: .seconds(10))
                }
                // It is written, and the same ids wait on.
                let written = try #require(error).answers[0].get()[0]
                #expect(written.position == 4 && written.durability == .local)
                try await replicated.waitForStandbys("standby")
                let again = try await commits.append(request, atLeast: .quorum, within: .seconds(60))[0]
                #expect(again.position == 4 && again.isDuplicate && again.durability == .quorum)
            }
            await store.close()
            try await replicated.execute(script: "ALTER ROLE jobledger RESET synchronous_commit")
        }
    }

    /// The triggers of a demand demand nothing by themselves: whoever loads data with triggers
    /// disabled, as pg_restore does by option, enables all of them in the end.
    @Test func enablingAllTriggersDemandsNothing() async throws {
        try await TestLedger.with { ledger async throws in
            let owner = try await ledger.connect()
            try await owner.execute(
                script: "ALTER TABLE events DISABLE TRIGGER ALL; ALTER TABLE events ENABLE TRIGGER ALL")
            for level in ["on", "local", "off"] {
                try await owner.execute(script: "SET synchronous_commit = \(level)")
                #expect(
                    try await owner.query("SELECT append_event($1, 'queued', '{\"name\":\"x\"}')", level).count == 1)
            }
            #expect(try await ledger.queue("a").durability == .local)
            await owner.close()
        }
    }

    /// Whatever the appender's session has set, the commit waits, or is refused.
    @Test func aDemandHoldsForEveryWayIn() async throws {
        try await ReplicatedLedger.with { replicated in
            let ledger = replicated.ledger
            try await ledger.store.demand(.quorum)
            #expect(try await ledger.store.demandedDurability() == .quorum)
            let connection = try await ledger.connect()
            // Deferred triggers run in the commit, with the rights of whoever commits.
            try await connection.execute(script: "SET ROLE \"\(ledger.name)_appender\"")
            try await connection.query(PostgresStatement(Self.queued))
            try await replicated.loseStandby()
            for level in ["on", "local", "off", "remote_write", "remote_apply"] {
                try await connection.execute(script: "SET synchronous_commit = '\(level)'")
                let before = try await ledger.store.head()
                let append = Task { try await connection.query(PostgresStatement(Self.progress)) }
                _ = try await eventually("\(level): the commit waits") {
                    try await replicated.waiting() == 1 ? true : nil
                }
                #expect(try await ledger.store.head() == before)
                try await replicated.waitForStandbys("standby")
                _ = try await append.value
                #expect(try await ledger.store.head() == before + 1)
                try await replicated.loseStandby()
            }
            try await replicated.waitForStandbys("standby")
            // Lowered after the append.
            for level in ["local", "remote_write"] {
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.execute(
                        script: "BEGIN; \(Self.progress); SET LOCAL synchronous_commit = \(level); COMMIT")
                }
                #expect(error?.sqlState == .notInPrerequisiteCondition, "\(error!)")
                try await connection.execute(script: "ROLLBACK")
            }
            // No standby in the settings at all.
            try await replicated.waitForStandbys("")
            let refused = await #expect(throws: PostgresError.self) {
                try await connection.query(PostgresStatement(Self.progress))
            }
            #expect(refused?.sqlState == .noStandbys && refused?.disposition == .outage, "\(refused!)")
            await connection.close()
            // This way out needs no standby.
            try await replicated.loseStandby()
            try await ledger.store.demand(.local)
            #expect(try await ledger.store.demandedDurability() == .local)
            try await replicated.waitForStandbys("standby")
        }
    }

    /// Whoever empties the names of the standbys lets everybody go who waits, without a warning. It
    /// is no confirmation.
    @Test func aWaitThatEndsWithTheNamesConfirmsNothing() async throws {
        try await ReplicatedLedger.with { replicated in
            let ledger = replicated.ledger
            func isWaiting(_ count: Int) async throws {
                _ = try await eventually("\(count) wait") { try await replicated.waiting() == count ? true : nil }
            }
            // Where nothing is demanded, the append's own commit waits.
            try await replicated.loseStandby()
            let own = Task { try await ledger.queue("own") }
            try await isWaiting(1)
            try await replicated.waitForStandbys("")
            #expect(try await own.value.durability == .local)

            try await replicated.waitForStandbys("standby")
            try await ledger.store.demand(.quorum)
            #expect(try await ledger.queue("a").durability == .quorum)
            try await replicated.loseStandby()
            let reader = try await ledger.connect()
            let asked = Task { try await reader.durableHead(patience: .seconds(600)) }
            let awaited = try await ledger.connect()
            let following = Task {
                try await awaited.awaitDurableEvents(after: 0, every: .milliseconds(1), patience: .seconds(600))
            }
            // A process that has not heard of the demand.
            let store = EventStore(url: ledger.url, ledger: ledger.name)
            let request = AppendRequest.queue("b")
            let appending = Task { try await store.append([request, .queue("a")]) }
            try await isWaiting(3)
            try await replicated.waitForStandbys("")
            for task in [asked, following] {
                let error = await #expect(throws: NotConfirmed.self) { try await task.value }
                #expect(error?.reason?.contains("ceased to wait") == true, "\(error!)")
            }
            let error = await #expect(throws: NotDurable.self) { try await appending.value }
            #expect(error?.reason.contains("ceased to wait") == true, "\(error!)")
            let answers = try #require(error).answers
            #expect(try answers[0].get()[0].durability == .local)
            #expect(throws: Refusal.self) { try answers[1].get() }
            for connection in [reader, awaited] { await connection.close() }

            try await replicated.waitForStandbys("standby")
            let again = try await store.append([request])[0].get()[0]
            #expect(again.isDuplicate && again.durability == .quorum)
            await store.close()
            try await ledger.store.demand(.local)
        }
    }

    /// What was confirmed once says nothing about now: the server may be another one.
    @Test func eachConfirmationIsAskedFor() async throws {
        try await ReplicatedLedger.with { replicated in
            let store = replicated.ledger.store
            let position = try await replicated.ledger.queue("a").position
            let place = Place(position, epoch: try await replicated.ledger.epochDigits())
            try await store.confirmations.confirm(place)
            try await replicated.loseStandby()
            await #expect(throws: NotConfirmed.self) {
                try await store.confirmations.confirm(place, within: .seconds(1))
            }
            try await replicated.waitForStandbys("standby")
            try await store.confirmations.confirm(place)
        }
    }

    /// A demand that no standby can meet is refused, and changes nothing.
    @Test func aDemandNeedsStandbys() async throws {
        try await TestLedger.with { ledger async throws in
            let error = await #expect(throws: PostgresError.self) { try await ledger.store.demand(.quorum) }
            #expect(error?.sqlState == .noStandbys, "\(error!)")
            #expect(try await ledger.store.demandedDurability() == .local)
            #expect(try await ledger.queue("a").durability == .local)
        }
    }

    /// The server that confirms is the one that has the events, or the append is sent again.
    @Test func aConfirmationByAnotherServerIsNone() async throws {
        try await ReplicatedLedger.with { replicated in
            let ledger = replicated.ledger
            try await ledger.store.demand(.quorum)
            try await ledger.queue("a")
            let confirmations = ledger.store.confirmations
            let head = try await confirmations.head()
            #expect(head.position == 1)
            await #expect(throws: HistoryChanged.self) { try await confirmations.confirm(Place(2, epoch: head.epoch)) }
            let digits = EpochDigits("00000000")
            await #expect(throws: HistoryChanged.self) { try await confirmations.confirm(Place(1, epoch: digits)) }
            // A new epoch between two appends is found out, and the append is answered as before.
            try await ledger.beginEpoch()
            let after = try await ledger.queue("b")
            #expect(after.position == 2 && after.durability == .quorum)
        }
    }
}

extension NewEvent {
    static var queued: NewEvent { NewEvent(type: "queued", data: #"{"name":"x"}"#) }
}
