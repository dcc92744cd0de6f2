import BlockingIO
import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Appends in a ledger that demands quorum: the commit of a group, or of a batch, waits for the
/// standbys itself, and is answered at quorum or not at all.
@Suite(.timeLimit(.minutes(10)), .serialized) struct DemandTests {
    @Test func aGroupIsOneCommitAtQuorum() async throws {
        try await ReplicatedLedger.demanding { _, ledger in
            try await ledger.store.withGroupCommit(.patient) { commits in
                let holder = try await ledger.holdLog()
                // The first goes alone, and the others gather meanwhile.
                var appends = [try await commits.beginInFlight(.queue("first"))]
                for number in 1...5 { appends.append(try await commits.begin(.queue("w\(number)"))) }
                try await ledger.release(holder)
                for append in appends { #expect(try await append.value[0].durability == .quorum) }
                #expect(commits.status.small.commits == 2)
            }
            let answers = try await ledger.store.append((1...2_500).map { .queue("batch \($0)") })
            let levels = try answers.map { try $0.get()[0].durability }
            #expect(levels.allSatisfy { $0 == .quorum })
        }
    }

    /// While the standby is away nobody sees or is told anything, and a caller with a limit is told
    /// so within it. The others, and the retry, are answered when the standby is back.
    @Test func nothingIsAcknowledgedWhileTheStandbyIsAway() async throws {
        try await ReplicatedLedger.demanding { replicated, ledger in
            try await ledger.store.withGroupCommit(.patient) { commits in
                #expect(try await commits.append(.queue("a"), atLeast: .quorum)[0].durability == .quorum)
                try await replicated.loseStandby()
                let request = AppendRequest.queue("b")
                let limited = Task {
                    // Longer than a busy machine needs to see that the commit waits.
                    try await commits.append(request, atLeast: .quorum, within: .seconds(15))
                }
                try await replicated.untilWaiting(1)
                let isAnswered = Locked(false)
                let patient = Task {
                    let appended = try await commits.append(.queue("c"))[0]
                    isAnswered.withLock { $0 = true }
                    return appended
                }
                #expect(try await ledger.store.head() == 1)
                let error = await #expect(throws: OutcomeUnknown.self) { try await limited.value }
                #expect(error?.reason.contains("the standbys") == true, "\(error!)")
                #expect(try await ledger.store.head() == 1)
                #expect(isAnswered.withLock { $0 } == false)
                // The way out says what it waits for.
                let stuck = await #expect(throws: NotConfirmed.self) {
                    try await ledger.store.demand(.local, within: .seconds(1))
                }
                #expect(stuck?.reason?.contains("take the names out") == true, "\(stuck!)")

                try await replicated.waitForStandbys("standby")
                let again = try await commits.append(request, atLeast: .quorum, within: .seconds(60))[0]
                #expect(again.position == 2 && again.isDuplicate && again.durability == .quorum)
                #expect(try await patient.value.durability == .quorum)
                #expect(try await ledger.log().map(\.job) == ["a", "b", "c"])
            }
        }
    }

    /// The same outside of a group commit.
    @Test func aCallOfItsOwnKeepsTheLimitToo() async throws {
        try await ReplicatedLedger.demanding { replicated, ledger in
            let store = ledger.store
            #expect(try await store.append(.queued, to: "a", atLeast: .quorum).durability == .quorum)
            try await replicated.loseStandby()
            let request = AppendRequest.queue("b")
            let limited = Task {
                try await store.append(
                    [request], atLeast: .quorum, timeout: .seconds(600), within: .seconds(15),
                    callTimeout: .seconds(600))
            }
            try await replicated.untilWaiting(1)
            await #expect(throws: OutcomeUnknown.self) { try await limited.value }
            #expect(try await store.head() == 1)
            try await replicated.waitForStandbys("standby")
            let again = try await store.append([request])[0].get()[0]
            #expect(again.position == 2 && again.isDuplicate && again.durability == .quorum)
        }
    }

    /// The names of the standbys are emptied while a group waits for them: it is in the log, and
    /// acknowledged to nobody. A refusal of the same group stays one.
    @Test func aGroupWhoseStandbysGoIsNotAcknowledged() async throws {
        try await ReplicatedLedger.demanding { replicated, ledger in
            try await ledger.queue("a")
            let admin = try await ledger.connect()
            func waitForTheLog(_ count: Int) async throws {
                _ = try await eventually("\(count) wait for the log") {
                    let waiting = "SELECT FROM pg_locks WHERE relation = 'serialiser'::regclass AND NOT granted"
                    return try await admin.query(waiting).count == count ? true : nil
                }
            }
            try await ledger.store.withGroupCommit(.patient) { commits in
                let first = try await ledger.holdLog()
                let alone = try await commits.beginInFlight(.queue("b"))
                try await waitForTheLog(1)
                let gate = Task { try await ledger.holdLog() }
                try await waitForTheLog(2)
                // One group, which comes behind the gate.
                let request = AppendRequest.queue("c")
                let (written, refused) = (try await commits.begin(request), try await commits.begin(.queue("a")))
                try await ledger.release(first)
                #expect(try await alone.value[0].durability == .quorum)
                let second = try await gate.value
                try await waitForTheLog(1)
                try await replicated.loseStandby()
                try await ledger.release(second)
                try await replicated.untilWaiting(1)
                try await replicated.waitForStandbys("")
                let refusal = await #expect(throws: Refusal.self) { try await refused.value }
                #expect(refusal?.code == .alreadyQueued)
                let error = await #expect(throws: NotDurable.self) { try await written.value }
                #expect(error?.reason.contains("ceased to wait") == true, "\(error!)")

                try await replicated.waitForStandbys("standby")
                let again = try await commits.append(request)[0]
                #expect(again.position == 3 && again.isDuplicate && again.durability == .quorum)
            }
            await admin.close()
        }
    }
}
