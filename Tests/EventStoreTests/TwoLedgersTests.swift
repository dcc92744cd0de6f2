import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Several ledgers in one database do not see each other.
@Suite struct TwoLedgersTests {
    @Test func haveTheirOwnPositionsJobsAndEpochs() async throws {
        try await TestLedger.with { one async throws in
            try await TestLedger.with { other async throws in
                try await one.queue("a")
                try await one.progress("a", 1)
                let first = try await other.queue("a")
                #expect(first.position == 1 && first.version == 1)
                #expect(try await one.store.head() == 2)
                #expect(try await other.store.head() == 1)
                #expect(try await one.store.epoch() != other.store.epoch())
            }
        }
    }

    /// The lock on one log holds up nobody in the other.
    @Test func doNotWaitForEachOther() async throws {
        try await TestLedger.with { one async throws in
            try await TestLedger.with { other async throws in
                let connection = try await one.connect()
                try await connection.execute(script: "BEGIN")
                try await connection.query(#"SELECT * FROM append_event('a', 'queued', '{"name":"n"}')"#)
                let start = ContinuousClock.now
                try await other.queue("a")
                #expect(start.duration(to: .now) < .seconds(4), "it waited for the other ledger's lock")
                try await connection.execute(script: "ROLLBACK")
                await connection.close()
            }
        }
    }
}
