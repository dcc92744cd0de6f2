import EventStore
import LedgerTesting
import Postgres
import Testing

/// How long the log has been held, as far as one process can see.
@Suite struct LogLockTimerTests {
    @Test func theSameTransactionIsTimed() async throws {
        try await TestLedger.with { ledger in
            let (owner, timer) = (try await ledger.connect(), LogLockTimer())
            func look() async throws -> LogLockHolder? {
                try LogLockHolder(try await owner.query(LogLockHolder.statement))
            }
            let start = ContinuousClock.now
            #expect(try await timer.note(look(), at: start) == nil)
            for _ in 0..<2 {
                let session = try await ledger.connect(as: "holder")
                try await session.execute(script: "BEGIN; SELECT append_event('a', 'queued', '{\"name\":\"n\"}')")
                // The ledger's owner may not see since when.
                let first = try #require(try await timer.note(look(), at: start))
                #expect(first.age == nil && first.heldFor == .zero && first.knownHold == .zero)
                let later = try #require(try await timer.note(look(), at: start.advanced(by: .seconds(7))))
                #expect(later.heldFor == .seconds(7) && later.knownHold == .seconds(7))
                // Another transaction of the same session is another holder.
                try await session.execute(
                    script: "ROLLBACK; BEGIN; SELECT append_event('a', 'queued', '{\"name\":\"n\"}')")
                let next = try #require(try await timer.note(look(), at: start.advanced(by: .seconds(8))))
                #expect(next.heldFor == .zero && next.process == later.process)
                try await session.execute(script: "ROLLBACK")
                #expect(try await timer.note(look()) == nil)
                await session.close()
            }
            await owner.close()
        }
    }
}
