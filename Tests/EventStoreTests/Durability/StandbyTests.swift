import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Appends to a server that waits for standbys: what is answered, a standby has.
@Suite(.timeLimit(.minutes(10)), .serialized) struct StandbyTests {
    /// The first attempt is in the log and on no standby. Its retry finds it there, and must wait
    /// for a standby too.
    @Test func aRetryWaitsLikeTheFirst() async throws {
        try await StandbyDemand.with { demand in
            try await TestLedger.with(url: demand.url) { ledger in
                try await ledger.queue("a")
                try await demand.begin()
                let event = NewEvent(type: "progress", data: #"{"completed":1}"#)
                let append = Task { try await ledger.store.append(event, to: "a", timeout: .seconds(600)) }
                let first = try await demand.nextWait()
                try await demand.cancelWait(of: first)
                // The store tries again by itself, with the same id.
                let second = try await demand.nextWait()
                #expect(try await ledger.store.head() == 2)
                try await demand.cancelWait(of: second)
                _ = try await demand.nextWait()
                try await demand.end()
                let answer = try await append.value
                #expect(answer.position == 2 && answer.isDuplicate)
            }
        }
    }

    @Test func aCallerOfSQLWaitsToo() async throws {
        try await StandbyDemand.with { demand in
            try await TestLedger.with(url: demand.url) { ledger in
                let id = EventID.version7()
                let connection = try await ledger.connect()
                let sql = "SELECT append_event('a', 'queued', '{\"name\":\"x\"}', event_id => '\(id)')"
                try await connection.query(sql)
                try await demand.begin()
                let again = Task { try await connection.query(sql) }
                _ = try await demand.nextWait()
                try await demand.end()
                _ = try await again.value
                #expect(try await ledger.store.head() == 1)
                await connection.close()
            }
        }
    }

    @Test func aGroupWhoseWaitIsCancelledHasAnUnknownOutcome() async throws {
        try await StandbyDemand.with { demand in
            try await TestLedger.with(url: demand.url) { ledger in
                try await ledger.store.withGroupCommit(.patient) { commits in
                    let request = AppendRequest.queue("a")
                    _ = try await commits.append(.queue("b"))
                    try await demand.begin()
                    let task = try await commits.begin(request)
                    try await demand.cancelWait(of: try await demand.nextWait())
                    await #expect(throws: OutcomeUnknown.self) { try await task.value }
                    let retry = try await commits.begin(request)
                    _ = try await demand.nextWait()
                    try await demand.end()
                    #expect(try await retry.value[0].isDuplicate)
                }
            }
        }
    }

    /// A call outside of a group commit keeps its caller no longer than was promised, nor those who
    /// wait for its connection. It goes on, and its events are found by a retry.
    @Test func aCallThatIsStuckIsGivenUpAndGoesOn() async throws {
        try await StandbyDemand.with { demand in
            try await TestLedger.with(url: demand.url) { ledger in
                try await ledger.queue("a")
                let store = EventStore(url: demand.url, ledger: ledger.name, connections: 1)
                let request = AppendRequest.queue("b")
                try await demand.begin()
                let stuck = Task {
                    // Longer than a busy machine needs to see that the commit waits.
                    try await store.append([request], timeout: .seconds(10), callTimeout: .seconds(15))
                }
                let wait = try await demand.nextWait()
                #expect(store.callsUnderWay.longest > .zero)
                await #expect(throws: GroupCommitBusy.self) {
                    try await store.append([.queue("c")], timeout: .milliseconds(100), callTimeout: .seconds(600))
                }
                await #expect(throws: OutcomeUnknown.self) { try await stuck.value }
                #expect(store.callsUnderWay.longest == .zero)
                // The wait was not ended.
                #expect(try await demand.waiting() == [wait])

                try await demand.end()
                _ = try await eventually("nothing waits any more") { try await demand.waiting().isEmpty ? true : nil }
                let again = try await store.append([request])[0].get()[0]
                #expect(again.position == 2 && again.isDuplicate)
                #expect(try await ledger.log().map(\.job) == ["a", "b"])
                await store.close()
            }
        }
    }
}
