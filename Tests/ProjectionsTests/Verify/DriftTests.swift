import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Projections
import Testing

/// Manual changes of tables are found, named and explained.
@Suite struct DriftTests {
    private static let quiet = Logger(label: "quiet") { _ in SwiftLogNoOpLogHandler() }

    /// Changed columns, a removed row and an added row: each difference has both values and the
    /// events that gave them.
    @Test func verifyNamesTheEventThatExplains() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            for job in ["a", "b", "c"] {
                try await ledger.queue(job, total: 9)
                for completed in [3, 1, 7] { try await ledger.progress(job, completed) }
            }
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            let owner = try await ledger.connect()
            try await owner.execute(
                script: """
                    UPDATE batch_jobs SET completed = 3, error = 'x' WHERE id = 'a';
                    DELETE FROM batch_jobs WHERE id = 'b';
                    INSERT INTO batch_jobs (id, name, status) VALUES ('x', 'x', 'queued')
                    """)
            let finding = try await ledger.verify(definition)
            #expect(finding.differences.count == 3 && finding.explanations.count == 3)
            func event(_ position: Position) async throws -> Explanation.Event {
                let row = try await owner.query("SELECT event_id, type::text FROM events WHERE position = $1", position)
                    .only()
                return Explanation.Event(position: position, id: try row.decode(0), type: try row.decode(1))
            }
            // Three jobs of four events each: those of job a are at positions 1 to 4.
            #expect(
                finding.explanations[0].columns == [
                    .init(
                        name: "completed", live: "3", rebuilt: "7", rebuiltBy: try await event(4),
                        liveBy: try await event(2)),
                    .init(name: "error", live: #""x""#, rebuilt: "null", rebuiltBy: try await event(1), liveBy: nil),
                ])
            #expect(
                finding.explanations[1].columns == [
                    .init(name: "id", live: nil, rebuilt: #""b""#, rebuiltBy: try await event(5), liveBy: nil)
                ])
            #expect(
                finding.explanations[2].columns == [
                    .init(name: "id", live: #""x""#, rebuilt: nil, rebuiltBy: nil, liveBy: nil)
                ])
            #expect(finding.explanations[2].unexplained?.contains("no event gives this row") == true)
            await owner.close()
        }
    }

    /// For a projection whose key is the log, verify names the rows and says why it does not
    /// explain them.
    @Test func verifySaysWhyItDoesNotExplain() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_job_runs")
            try await ledger.appendHistory(jobs: 5, events: 60, seed: 3)
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_job_runs") }
            let owner = try await ledger.connect()
            try await owner.execute(script: "UPDATE batch_job_runs SET metrics = '{}' WHERE id = 1")
            let finding = try await ledger.verify(definition)
            #expect(finding.differences.map(\.columns) == [["metrics"]])
            #expect(finding.explanations.first?.columns.first?.live == "{}")
            #expect(finding.explanations.first?.unexplained?.contains("key is the log") == true)
            await owner.close()
        }
    }

    /// A sample finds and counts drift. It finds none if there is none, also while events are
    /// folded and tables are swapped.
    @Test func aSampleFindsDrift() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.appendHistory(jobs: 10, events: 200, seed: 3)
            let check = DriftCheck(definition, store: ledger.store, jobsPerSecond: 10, logger: Self.quiet)
            #expect(try await check.compareSample(of: 10) == nil, "there is nothing yet")
            let owner = try await ledger.connect()
            try await ledger.projecting([definition], window: 7) {
                try await ledger.caughtUp("batch_jobs")
                var compared = 0
                for part in 0..<6 {
                    async let appending: Void = ledger.appendHistory(jobs: 10, events: 60, seed: UInt64(100 + part))
                    async let rebuilding = ledger.rebuild(definition, window: 50)
                    if let finding = try await check.compareSample(of: 10) {
                        #expect(finding.differences == [], "no false alarm")
                        compared += finding.jobs
                    }
                    try await appending
                    // A sample may have delayed the rebuild for too long.
                    do { _ = try await rebuilding } catch is Rebuild.Busy {}
                }
                #expect(compared > 0)
            }
            try await owner.execute(script: "UPDATE batch_jobs SET total = total + 1000000")
            let finding = try #require(try await check.compareSample(of: 5))
            #expect(finding.jobs > 0 && finding.differences.count == finding.jobs)
            #expect(finding.differences.allSatisfy { $0.columns == ["total"] })
            try await owner.execute(script: "DELETE FROM batch_jobs")
            #expect(try await check.compareSample(of: 5)?.differences.allSatisfy { $0.live == nil } == true)
            let row = try await owner.query("SELECT jobs, drifted, last_drift FROM drift_checks").only()
            #expect(try row.decode(0, as: Int64.self) > row.decode(1, as: Int64.self))
            #expect(try row.decode(1, as: Int64.self) >= Int64(finding.jobs))
            #expect(try row.decode(2, as: String.self).hasPrefix("batch_jobs {"))
            await owner.close()
        }
    }
}
