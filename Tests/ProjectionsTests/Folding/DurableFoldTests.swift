import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// A projector of a ledger that demands quorum folds nothing that a failover may take back.
@Suite(.timeLimit(.minutes(10))) struct DurableFoldTests {
    @Test func nothingIsFoldedBeforeTheStandbysHaveIt() async throws {
        try await ReplicatedLedger.with { replicated in
            let ledger = replicated.ledger
            try await ledger.store.demand(.quorum)
            try await ledger.queue("a")
            try await ledger.projecting([try ProjectionDefinition.builtIn("batch_jobs")]) {
                try await ledger.caughtUp("batch_jobs")
                #expect(try await replicated.appendUnseen() == 2)
                _ = try await eventually("the projector asks the standbys") {
                    try await replicated.waiting() > 0 ? true : nil
                }
                #expect(try await ledger.state("batch_jobs")?.position == 1)
                try await replicated.waitForStandbys("standby")
                try await ledger.caughtUp("batch_jobs")
                #expect(try await ledger.state("batch_jobs")?.position == 2)
            }
        }
    }
}
