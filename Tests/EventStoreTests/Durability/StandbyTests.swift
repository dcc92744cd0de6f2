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
}
