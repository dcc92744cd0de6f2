import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@Suite struct IdempotencyTests {
    @Test func aRetryIsAnsweredWithTheOriginalWhateverHappenedSince() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a", total: 3)
            let event = NewEvent(type: "progress", data: #"{"completed":1}"#, metadata: #"{"actor":"ada"}"#)
            let first = try await ledger.store.append(event, to: "a", expectedVersion: 1)
            _ = try await ledger.store.append(NewEvent(type: "finished"), to: "a")
            // The job has ended and its version has changed; neither affects a retry.
            let again = try await ledger.store.append(event, to: "a", expectedVersion: 1)
            #expect(again.isDuplicate)
            #expect(
                again.position == first.position && again.version == first.version && again.eventID == first.eventID)
            #expect(try await ledger.count() == 3)
        }
    }

    /// Which differences make the content of an event different, and which do not.
    @Test func contentIsComparedAsJSON() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            try await ledger.queue("b")
            let event = NewEvent(
                type: "progress", data: #"{"completed":1,"message":"m"}"#,
                metadata: #"{"actor":"ada","traceparent":"00-1"}"#)
            _ = try await ledger.store.append(event, to: "a")

            var otherBytes = event
            otherBytes.data = #"{ "message": "m", "completed": 1 }"#
            otherBytes.metadata = #"{"traceparent":"00-2","actor":"ada"}"#
            #expect(try await ledger.store.append(otherBytes, to: "a").isDuplicate)

            var others = [event, event, event, event]
            others[0].data = #"{"completed":2}"#
            others[1].metadata = #"{"actor":"bob"}"#
            others[2].type = "truncated"
            others[3].occurredAt = Timestamp("2026-01-01T00:00:00Z")
            // The refusal names the part that differs.
            for (other, part) in zip(others, ["data", "metadata", "type", "occurred_at"]) {
                let answer = try await ledger.store.append([AppendRequest(job: "a", events: [other])])[0]
                let refusal = try #require(throws: Refusal.self) { try answer.get() }
                #expect(refusal.code == .eventIDConflict)
                #expect(
                    refusal.message.contains(
                        "event id \(event.id.text) is at position 3 already, with other \(part): "),
                    "\(refusal)")
            }
            let elsewhere = try await ledger.store.append([AppendRequest(job: "b", events: [others[3]])])[0]
            let refusal = try #require(throws: Refusal.self) { try elsewhere.get() }
            #expect(refusal.message.contains("with other job, occurred_at: "), "\(refusal)")
            #expect(try await ledger.count() == 3)
        }
    }

    @Test func repeatsWithinOneBatch() async throws {
        try await TestLedger.with { ledger async throws in
            let queued = NewEvent(type: "queued", data: #"{"name":"n"}"#)
            let early = NewEvent(type: "progress", data: #"{"completed":1}"#)
            var conflicting = early
            conflicting.data = #"{"completed":2}"#
            let answers = try await ledger.store.append([
                AppendRequest(job: "a", events: [early]),  // refused: unknown job
                AppendRequest(job: "a", events: [queued]),
                AppendRequest(job: "a", events: [early]),  // the same id is free, for nothing was written under it
                AppendRequest(job: "a", events: [early]),  // a repeat
                AppendRequest(job: "a", events: [conflicting]),
                AppendRequest(job: "b", events: [early]),
            ])
            #expect(throws: Refusal.self) { try answers[0].get() }
            #expect(try answers[1].get()[0].position == 1)
            #expect(try answers[2].get()[0] == Appended(position: 2, version: 2, eventID: early.id, isDuplicate: false))
            #expect(try answers[3].get()[0] == Appended(position: 2, version: 2, eventID: early.id, isDuplicate: true))
            for answer in answers[4...] {
                guard case .failure(let refusal) = answer else { throw Refusal(.invalidEvent, "accepted") }
                #expect(refusal.code == .eventIDConflict)
            }
            #expect(try await ledger.count() == 2)
        }
    }

    /// The commit took effect and its answer was lost: the retry finds the event.
    @Test func aLostAnswerIsResolvedByTheRetry() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            let real = try #require(URLComponents(string: ledger.url))
            let proxy = try CuttingProxy(target: UInt16(try #require(real.port)))
            var detour = real
            detour.port = Int(proxy.port)
            let store = EventStore(url: try #require(detour.string), ledger: ledger.name, connections: 1)
            for count in 1...5 {
                proxy.loseAnswer(toRequestWith: "completed")
                let appended = try await store.append(
                    NewEvent(type: "progress", data: #"{"completed":\#(count)}"#), to: "a", timeout: .seconds(60))
                #expect(proxy.lost == count)
                #expect(
                    appended
                        == Appended(
                            position: Position(count + 1), version: Int32(count + 1), eventID: appended.eventID,
                            isDuplicate: true
                        ))
            }
            #expect(try await ledger.count() == 6)
            await store.close()
            proxy.stop()
        }
    }
}
