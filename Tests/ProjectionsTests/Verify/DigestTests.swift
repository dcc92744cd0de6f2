import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// The digest does not depend on windows, processes or time.
@Suite struct DigestTests {
    @Test(arguments: ["batch_jobs", "batch_job_runs"])
    func isTheSameForEveryWindowAndForTheLiveTables(_ name: String) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("digest of \(name): seed \(seed)")
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn(name)
            // The projector runs meanwhile, so the sizes of its windows vary.
            let live = try await ledger.projecting([definition], window: 37) {
                for part in 0..<4 { try await ledger.appendHistory(jobs: 40, events: 400, seed: seed &+ UInt64(part)) }
                try await ledger.caughtUp(name)
                return try await ledger.verify(definition)
            }
            #expect(live.isEqual, "\(live.differences)")
            let head = try await ledger.store.head()
            for window in [1, 7, 1000, 100_000] {
                let receipt = try await ledger.rebuild(definition, window: window)
                #expect(receipt.digest == live.liveDigest, "window \(window)")
                #expect(receipt.position == head && receipt.events == head && receipt.rows > 0)
            }
        }
    }

    @Test func twoLedgersWithTheSameEventsHaveTheSameDigest() async throws {
        let definition = try ProjectionDefinition.builtIn("batch_jobs")
        func digest() async throws -> String {
            try await TestLedger.with { ledger async throws in
                for (index, job) in ["b", "ä", "Z", "a"].enumerated() {
                    let moment = Timestamp("2026-01-01T00:00:0\(index)Z")
                    _ = try await ledger.store.append(
                        NewEvent(type: "queued", data: #"{"name":"n"}"#, occurredAt: moment), to: job)
                }
                return try await ledger.rebuild(definition).digest
            }
        }
        #expect(try await digest() == digest())
    }
}
