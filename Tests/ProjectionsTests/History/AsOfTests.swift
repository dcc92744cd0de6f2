import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import Projections

@Suite struct AsOfTests {
    private static let isLong = ProcessInfo.processInfo.environment["JOBLEDGER_SOAK"] == "1"

    /// The row of each of thousands of random jobs, as of each of its events, is what the README
    /// says. All prefixes of one length are folded together, each as one window, as `show --at`
    /// does.
    @Test func everyPrefixOfThousandsOfJobs() async throws {
        let seed = UInt64.random(in: 0...9999)
        print("as-of: seed \(seed)")
        try await TestLedger.with { ledger async throws in
            let jobs = try await RandomJobs.append(
                Self.isLong ? 20_000 : 2000, mostEvents: Self.isLong ? 40 : 11, to: ledger, seed: seed)
            let fold = Fold(try .builtIn("batch_jobs"), ledger: ledger.name, schema: "pg_temp")
            let connection = try await ledger.connect()
            var compared = 0
            for version in 1...(jobs.histories.values.map(\.count).max() ?? 0) {
                try await connection.discardedTransaction { connection in
                    try await connection.execute(script: AsOfEvents.view("version <= \(version)"))
                    try await fold.createTables(on: connection)
                    try await fold.apply(after: 0, upTo: jobs.head, on: connection)
                    for try await row in connection.stream(
                        "SELECT id::text, \(ExpectedJob.sql) FROM pg_temp.batch_jobs")
                    {
                        let (job, values): (JobID, [String?]) = (try row.decode(0), try row.decode(1))
                        let history = jobs.histories[job]!
                        let expected = history[min(version, history.count) - 1].row
                        if values != expected.values {
                            Issue.record(
                                "seed \(seed), \(job) after \(version) events: \(values), not \(expected.values)")
                        }
                        compared += 1
                    }
                }
            }
            #expect(compared > jobs.histories.count * 8)
            await connection.close()
        }
    }

    /// `show --at` for some jobs at every position of the log, also those of other jobs' events.
    @Test func everyPositionOfSomeJobs() async throws {
        let seed = UInt64.random(in: 0...9999)
        try await TestLedger.with { ledger async throws in
            let jobs = try await RandomJobs.append(Self.isLong ? 200 : 12, mostEvents: 12, to: ledger, seed: seed)
            let model = try StreamReadModel(.builtIn("batch_jobs"), of: .job, store: ledger.store)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for job in jobs.histories.keys.sorted().prefix(6) {
                    group.addTask {
                        for position in 0...(jobs.head + 1) {
                            let row = try await model.row(job, at: position)
                            let expected = jobs.row(job, at: position)
                            #expect((row == nil) == (expected == nil), "seed \(seed): \(job) at \(position)")
                            if let row, let expected {
                                let counts = #""total":\#(expected.total),"completed":\#(expected.completed),"#
                                #expect(
                                    row.contains(#""status":"\#(expected.status)",\#(counts)"#),
                                    "seed \(seed): \(job) at \(position): \(row)")
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// A time means the last position recorded by then. A position beyond the log means its end.
    @Test func aTimeNamesAPosition() async throws {
        try await TestLedger.with { ledger async throws in
            for job in ["a", "b", "c"] { try await ledger.queue(job) }
            let events = try await ledger.store.page(EventQuery())
            for event in events {
                #expect(try await ledger.store.position(of: .time(event.recordedAt)) == event.position)
                let before = Timestamp(microseconds: event.recordedAt.microseconds - 1)
                #expect(try await ledger.store.position(of: .time(before)) == event.position - 1)
                #expect(try await ledger.store.firstPosition(from: .time(event.recordedAt)) == event.position)
            }
            #expect(try await ledger.store.position(of: .position(99)) == 3)
            #expect(
                LogMoment("7") == .position(7) && LogMoment("-1") == nil && LogMoment("+1") == nil
                    && LogMoment("yesterday") == nil)
        }
    }
}
