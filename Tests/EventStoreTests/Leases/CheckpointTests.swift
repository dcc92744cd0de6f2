import EventStore
import LedgerTesting
import Postgres
import Testing

@Suite struct CheckpointTests {
    /// A reader that has read on another server than the one that keeps its place must not come to
    /// stand beyond the log: it would never see the events that come there.
    @Test func aCheckpointIsNeverBeyondTheLog() async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            let checkpoint = Checkpoint("relay")
            #expect(try await checkpoint.load(on: connection) == 0)
            for job in ["a", "b"] { try await ledger.queue(job) }
            let error = await #expect(throws: PostgresError.self) {
                _ = try await checkpoint.advance(from: 0, to: 3, on: connection)
            }
            #expect(error?.message == "position 3 is not there yet: the log ends at 2")
            #expect(error?.hint?.contains("Connect anew") == true)
            #expect(try await checkpoint.load(on: connection) == 0)
            #expect(try await checkpoint.advance(from: 0, to: 2, on: connection))
            #expect(try await checkpoint.advance(from: 0, to: 1, on: connection) == false)
            #expect(try await checkpoint.load(on: connection) == 2)
            await connection.close()
        }
    }
}
