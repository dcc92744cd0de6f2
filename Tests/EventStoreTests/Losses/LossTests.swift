import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// What the ledger knows of losses, and what it says of events that others remember.
struct LossTests {
    /// A ledger that had 12 events, has lost the last 5, and has 3 others in their place.
    private static func afterLoss(
        _ body: (TestLedger, _ before: [RememberedEvent], _ old: EpochDigits) async throws -> Void
    ) async throws {
        try await TestLedger.with { ledger in
            var before: [RememberedEvent] = []
            for number in 1...12 {
                let appended =
                    number == 1 ? try await ledger.queue("a", total: 50) : try await ledger.progress("a", number)
                before.append(RememberedEvent(id: appended.eventID, position: appended.position))
            }
            let old = try await ledger.epochDigits()
            try await ledger.lose(after: 7)
            for number in 1...3 { try await ledger.progress("a", 20 + number) }
            try await body(ledger, before, old)
        }
    }

    /// Each event is found by its id: there, elsewhere, or gone with what is in its place.
    @Test func remembered() async throws {
        try await Self.afterLoss { ledger, before, _ in
            let inPlace = try await ledger.store.pool.withConnection {
                try await $0.query("SELECT event_id FROM events WHERE position > 7 ORDER BY position").map {
                    try $0.decode(0, as: EventID.self)
                }
            }
            var remembered = before
            // One without a position, one that never was, and one that was appended again.
            remembered[2].position = nil
            remembered.append(RememberedEvent(id: .version7()))
            let again = NewEvent(type: "progress", data: #"{"completed":12}"#, id: before[11].id)
            #expect(try await ledger.store.append(again, to: "a").position == 11)
            let looked = try await ledger.store.look(for: remembered)
            let expected: [Remembrance] =
                (1...7).map { .there(Position($0)) } + inPlace.map { .gone(inPlace: $0) } + [
                    .gone(inPlace: again.id), .there(11), .gone(inPlace: nil),
                ]
            #expect(looked == expected)
            #expect(try await ledger.store.look(for: []) == [])
        }
    }

    private static func note(_ ledger: TestLedger, _ reader: String, _ place: Place) async throws -> Position {
        try await ledger.store.pool.withConnection { try await $0.noteLoss(by: reader, place) }
    }

    /// A note has what is gone; nothing is noted that is not.
    @Test func notes() async throws {
        try await Self.afterLoss { ledger, _, old in
            let store = ledger.store
            #expect(try await Self.note(ledger, "relay", Place(7, epoch: old)) == 7)
            #expect(try await Self.note(ledger, "relay", Place(9, epoch: try await ledger.epochDigits())) == 9)
            // Nobody knows what is gone of another ledger's epoch.
            #expect(try await Self.note(ledger, "relay", Place(9, epoch: EpochDigits("00000000"))) == 0)
            #expect(try await store.knownLosses() == [])
            #expect(try await Self.note(ledger, "relay", Place(9, epoch: old)) == 7)
            #expect(try await Self.note(ledger, "relay", Place(12, epoch: old)) == 7)
            #expect(try await Self.note(ledger, "relay", Place(8, epoch: old)) == 7)
            #expect(try await Self.note(ledger, "feed", Place(11, epoch: old)) == 7)
            let losses = try await store.knownLosses()
            #expect(
                Set(losses.map { "\($0.reader) \($0.place) \($0.shared)" }) == [
                    "relay 12.\(old) 7", "feed 11.\(old) 7",
                ])
            #expect(KnownLoss.count(losses) == 5)
            // A second loss counts apart.
            let second = try await ledger.epochDigits()
            try await ledger.lose(after: 9)
            #expect(try await Self.note(ledger, "feed", Place(10, epoch: second)) == 9)
            #expect(KnownLoss.count(try await store.knownLosses()) == 6)
        }
    }

    /// A subscription that has not dealt with its loss is known, and stays known once it has.
    @Test func subscriptions() async throws {
        try await TestLedger.with { ledger in
            for number in 1...12 {
                _ = number == 1 ? try await ledger.queue("a", total: 50) : try await ledger.progress("a", number)
            }
            let old = try await ledger.epochDigits()
            let holder = String(repeating: "x", count: 32)
            func run(_ statement: String) async throws {
                _ = try await ledger.store.pool.withConnection { try await $0.query(statement) }
            }
            for (name, position) in [("alerts", 10), ("early", 5)] {
                try await run("SELECT take_subscription('\(name)', '\(holder)', '1 minute', 0)")
                try await run("SELECT acknowledge('\(name)', '\(holder)', \(position))")
            }
            try await ledger.lose(after: 7)
            func known() async throws -> [String] {
                try await ledger.store.knownLosses().map { "\($0.reader) \($0.place) \($0.shared)" }
            }
            #expect(try await known() == ["subscription alerts 10.\(old) 7"])
            try await run("SELECT rejoin_subscription('early', '\(holder)')")
            try await run("SELECT rejoin_subscription('alerts', '\(holder)')")
            #expect(try await known() == ["subscription alerts 10.\(old) 7"])
        }
    }

    /// No user can fill the disk with notes.
    @Test func bounded() async throws {
        try await Self.afterLoss { ledger, _, old in
            _ = try await ledger.store.pool.withConnection {
                try await $0.query("SELECT note_loss('r' || n, $1, 9) FROM generate_series(1, 1010) AS n", old.text)
            }
            #expect(try await ledger.store.knownLosses().count == 1000)
        }
    }
}
