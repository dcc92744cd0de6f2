import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

/// Which event may follow which, and how the others are refused.
@Suite struct LifecycleTests {
    @Test func aJobGoesFromQueuedToItsEnd() async throws {
        try await TestLedger.with { ledger async throws in
            let types = ["queued", "progress", "truncated", "progress", "finished"]
            let data = [#"{"name":"n"}"#, #"{"completed":1}"#, #"{"reason":"r"}"#, #"{"completed":2}"#, "{}"]
            for (index, (type, data)) in zip(types, data).enumerated() {
                let appended = try await ledger.store.append(NewEvent(type: type, data: data), to: "a")
                #expect(appended.version == Int32(index + 1))
                #expect(appended.position == Position(index + 1))
                #expect(!appended.isDuplicate)
            }
            let events = try await ledger.store.page(EventQuery(job: "a"))
            #expect(events.map(\.type.rawValue) == types)
            #expect(events.map(\.data) == data)
        }
    }

    /// Every type in every state, compared with the table in the design.
    @Test(arguments: EventType.jobTypes)
    func everyTypeInEveryState(_ type: EventType) async throws {
        let data: [EventType: String] = [
            .queued: #"{"name":"n"}"#, .progress: #"{"completed":1}"#, .truncated: #"{"reason":"r"}"#, .finished: "{}",
            .failed: #"{"error":"e"}"#,
        ]
        let histories: [(state: String, events: [EventType])] = [
            ("none", []), ("queued", [.queued]), ("queued, truncated", [.queued, .truncated]),
            ("running", [.queued, .progress]),
            ("running, truncated", [.queued, .progress, .truncated]), ("finished", [.queued, .finished]),
            ("failed", [.queued, .failed]),
        ]
        try await TestLedger.with { ledger async throws in
            for (state, events) in histories {
                for event in events {
                    _ = try await ledger.store.append(NewEvent(type: event.rawValue, data: data[event]!), to: state)
                }
                let expected: Refusal.Code? =
                    switch (state, type) {
                    case ("none", .queued): nil
                    case ("none", _): .unknownJob
                    case (_, .queued): .alreadyQueued
                    case ("finished", _), ("failed", _): .alreadyEnded
                    default: nil
                    }
                let before = try await ledger.count()
                let answer = try await ledger.store.append(
                    [AppendRequest(job: state, events: [NewEvent(type: type.rawValue, data: data[type]!)])])[0]
                switch answer {
                case .success: #expect(expected == nil, "\(type) was accepted when \(state)")
                case .failure(let refusal):
                    #expect(refusal.code == expected, "\(type) when \(state): \(refusal)")
                    #expect(try await ledger.count() == before, "a refusal wrote something")
                }
            }
        }
    }

    @Test func completedStaysWithinAKnownTotal() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("known", total: 5)
            try await ledger.progress("known", 5)
            await #expect(throws: Refusal.self) { try await ledger.progress("known", 6) }
            let raised = NewEvent(type: "progress", data: #"{"completed":6,"total":8}"#)
            #expect(try await ledger.store.append(raised, to: "known").version == 3)
            try await ledger.progress("known", 8)

            try await ledger.queue("unknown")
            try await ledger.progress("unknown", 2_000_000_000)

            let product =
                #"{"name":"n","variables":[{"name":"a","values":[1,2,3]},{"name":"b","values":[],"count":4}]}"#
            _ = try await ledger.store.append(NewEvent(type: "queued", data: product), to: "product")
            try await ledger.progress("product", 12)
            await #expect(throws: Refusal.self) { try await ledger.progress("product", 13) }
        }
    }

    @Test func expectedVersions() async throws {
        try await TestLedger.with { ledger async throws in
            let queued = NewEvent(type: "queued", data: #"{"name":"n"}"#)
            let store = ledger.store
            await #expect(throws: Refusal(.unknownJob, #"job "a" has no events; the first must be queued"#)) {
                try await store.append(NewEvent(type: "finished"), to: "a", expectedVersion: 1)
            }
            #expect(try await store.append(queued, to: "a", expectedVersion: 0).version == 1)
            let progress = NewEvent(type: "progress", data: #"{"completed":1}"#)
            for wrong: Int32 in [0, 2, 7] {
                let refusal = try await #require(throws: Refusal.self) {
                    try await store.append(progress, to: "a", expectedVersion: wrong)
                }
                #expect(refusal.code == .versionConflict)
                #expect(
                    refusal.message.hasPrefix(
                        #"job "a" is at version 1, not at \#(wrong): somebody else has appended"#),
                    "\(refusal)")
            }
            #expect(try await store.append(progress, to: "a", expectedVersion: 1).version == 2)
            #expect(try await ledger.count() == 2)
        }
    }

    @Test func recordedTimesNeverGoBackAndNameAPosition() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            for count in 1...20 { try await ledger.progress("a", count) }
            let events = try await ledger.store.page(EventQuery())
            #expect(zip(events, events.dropFirst()).allSatisfy { $0.recordedAt <= $1.recordedAt })
            for event in events {
                let last = events.last { $0.recordedAt == event.recordedAt }!
                #expect(try await ledger.store.position(at: event.recordedAt) == last.position)
            }
            let before = Timestamp(microseconds: events[0].recordedAt.microseconds - 1)
            #expect(try await ledger.store.position(at: before) == 0)
        }
    }
}
