import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing
import TransparencyLog

@testable import Seal

/// A sealer of a ledger that demands quorum signs nothing that a failover may take back.
@Suite(.timeLimit(.minutes(10))) struct DurableSealTests {
    @Test func nothingIsSealedBeforeTheStandbysHaveIt() async throws {
        try await ReplicatedLedger.with { replicated in
            let ledger = replicated.ledger
            try await ledger.store.demand(.quorum)
            try await ledger.queue("a")
            let directory = TestServers.directory("seal")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: directory) }
            let key = try SealKey(name: "test/\(ledger.name)/\(try await ledger.store.epoch().text)")
            let sealed = SealedLedger(ledger: ledger, key: key, directory: directory)
            let running = Task { await sealed.sealer().run() }
            defer { running.cancel() }
            try await sealed.waitUntilSealed(1)
            #expect(try await replicated.appendUnseen() == 2)
            _ = try await eventually("the sealer asks the standbys") {
                try await replicated.waiting() > 0 ? true : nil
            }
            #expect(try await sealed.state().size == 1)
            #expect(try await SealerRecord(path: sealed.recordPath).load()?.checkpoint.head.size == 1)
            try await replicated.waitForStandbys("standby")
            try await sealed.waitUntilSealed(2)
            running.cancel()
            await running.value
        }
    }
}
