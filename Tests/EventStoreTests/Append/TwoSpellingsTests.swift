import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import EventStore

/// Two jobs whose ids look alike are different jobs, in one batch and in one group of concurrent
/// callers.
@Suite struct TwoSpellingsTests {
    private static func progress(_ completed: Int) -> NewEvent {
        NewEvent(type: "progress", data: #"{"completed":\#(completed)}"#)
    }

    @Test func haveTheirOwnVersions() async throws {
        try await TestLedger.with { ledger async throws in
            for job in TwoSpellings.both { try await ledger.queue(job) }
            // One job is ahead, so that mixing up the versions would show.
            for completed in 1...3 { try await ledger.progress(TwoSpellings.composed, completed) }
            for round in Int32(1)...3 {
                let answers = try await ledger.store.append(
                    TwoSpellings.both.map { AppendRequest(job: $0, events: [Self.progress(1)]) })
                let versions = try answers.map { answer throws in try answer.get()[0].version }
                #expect(versions == [4 + round, 1 + round])
            }
            try await ledger.store.withGroupCommit { commits async throws in
                for round in Int32(1)...3 {
                    async let one = commits.append(Self.progress(1), to: TwoSpellings.composed)
                    async let other = commits.append(Self.progress(1), to: TwoSpellings.decomposed)
                    let versions = (try await one.version, try await other.version)
                    #expect(versions == (7 + round, 4 + round))
                }
            }
            for (job, count) in zip(TwoSpellings.both, [10, 7]) {
                let events = try await ledger.store.page(EventQuery(job: job))
                #expect(events.count == count && events.allSatisfy { $0.job == job })
            }
        }
    }

    /// They share no version hint, and a batch with both still counts as one event per job.
    @Test func haveSeparateHints() throws {
        let known = VersionHints()
        let requests = TwoSpellings.both.map { AppendRequest(job: $0, events: [Self.progress(1)]) }
        let answers: [AppendAnswer] = [3, 8].map {
            .success([Appended(position: 1, version: $0, eventID: .version7(), isDuplicate: false)])
        }
        known.note(answers, to: requests)
        var batch = AppendBatch()
        for request in requests { batch.add(request) }
        let statement = try #require(batch.statement(known))
        #expect(statement.sql.contains("append_to_distinct_jobs"))
        for (job, version) in zip(TwoSpellings.both, [Int32(3), 8]) {
            var expected: [UInt8] = []
            var found: [UInt8] = []
            let areThere = [Int32?.some(version)].encode(into: &expected) && known.look(up: [job]).encode(into: &found)
            #expect(areThere && found == expected)
        }
    }
}
