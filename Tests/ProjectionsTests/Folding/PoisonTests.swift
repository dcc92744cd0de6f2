import EventStore
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Projections
import Testing

/// An event that cannot be folded: what is reported, and what an operator can do.
@Suite struct PoisonTests {
    /// Counts a job's events, and cannot fold the message `poison`.
    private static func poisoned() throws -> ProjectionDefinition {
        try .countingEvents(
            and: "SELECT 1 / (data ->> 'message' IS DISTINCT FROM 'poison')::integer FROM new_events")
    }

    private static func poison(_ ledger: TestLedger) async throws -> Appended {
        try await ledger.store.append(NewEvent(type: "progress", data: #"{"completed":9,"message":"poison"}"#), to: "a")
    }

    /// It is skipped by position, with a reason on record. Rebuilds and verifications leave it out
    /// too, in windows of every size.
    @Test func isSkippedByPositionAndOnRecord() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try Self.poisoned()
            try await ledger.queue("a")
            let owner = try await ledger.connect()
            try await ledger.projecting([definition]) {
                let poison = try await Self.poison(ledger)
                for count in 10...30 { try await ledger.progress("a", count) }
                let state = try await eventually("it stops") {
                    if let state = try await ledger.state("counts"), state.stopped != nil { state } else { nil }
                }
                #expect(state.stopped?.position == poison.position && state.stopped?.event == poison.eventID)
                // Only the event that stopped it can be skipped. All others are folded, or will be.
                for position in [poison.position - 1, poison.position + 1] {
                    let error = await #expect(throws: PostgresError.self) {
                        try await SkippedEvents.skip(position, of: "counts", because: "x", by: "ada", on: owner)
                    }
                    #expect(error?.message.contains("is not stopped at position") == true)
                }
                await #expect(throws: PostgresError.self, "no reason") {
                    try await SkippedEvents.skip(poison.position, of: "counts", because: "", by: "ada", on: owner)
                }
                let skipped = try await SkippedEvents.skip(
                    poison.position, of: "counts", because: "ticket 7", by: "ada", on: owner)
                #expect(skipped == poison.eventID)
                try await ledger.caughtUp("counts")
            }
            let record = try await owner.query(
                "SELECT position, reason, skipped_by, error, definition FROM skipped_events"
            ).only()
            #expect(try record.decode(1, as: String.self) == "ticket 7" && record.decode(2, as: String.self) == "ada")
            #expect(try record.decode(3, as: String.self).contains("division by zero"))
            let count: Int64 = try await owner.query("SELECT count FROM counts").only().decode(0)
            #expect(count == 22, "all but one")
            let finding = try await ledger.verify(definition)
            #expect(finding.isEqual)
            // The verification reports the skipped event, and that it cannot be folded.
            #expect(
                finding.skipped.map(\.record.reason) == ["ticket 7"] && !finding.skipped.contains(where: \.canBeFolded))
            for window in [1, 2, 3, 1000] {
                #expect(
                    try await ledger.rebuild(definition, window: window).digest == finding.liveDigest,
                    "window \(window)")
            }
            // The skip does not hold for another definition, which fails at the event again.
            let other = try ProjectionDefinition.counting("counts", apply: "/* other */ " + definition.applySQL)
            let error = await #expect(throws: FoldFailure.self) { try await ledger.rebuild(other) }
            #expect(try error?.position == record.decode(0, as: Position.self))
            await owner.close()
        }
    }

    /// An operator repairs what the fold depends on, and lets the projection try again.
    @Test func isTriedAgain() async throws {
        try await TestLedger.with { ledger async throws in
            let owner = try await ledger.connect()
            // This fold is not deterministic. It stands for a missing extension of the server, or a
            // full disk.
            try await owner.execute(script: "CREATE TABLE antidote (dose integer)")
            let definition = try ProjectionDefinition.countingEvents(
                and: """
                    SELECT 1 / (data ->> 'message' IS DISTINCT FROM 'poison'
                                OR EXISTS (SELECT FROM antidote))::integer
                      FROM new_events
                    """)
            try await ledger.queue("a")
            try await ledger.projecting([definition]) {
                #expect(try await !SkippedEvents.retry("counts", on: owner), "it is not stopped")
                _ = try await Self.poison(ledger)
                _ = try await eventually("it stops") { try await ledger.state("counts")?.stopped }
                #expect(try await SkippedEvents.retry("counts", on: owner))
                _ = try await eventually("it stops again") { try await ledger.state("counts")?.stopped }
                try await owner.execute(script: "INSERT INTO antidote VALUES (1)")
                #expect(try await SkippedEvents.retry("counts", on: owner))
                try await ledger.caughtUp("counts")
            }
            #expect(try await owner.query("SELECT count(*) FROM skipped_events").only().decode(0, as: Int64.self) == 0)
            await owner.close()
        }
    }

    /// What a session meets on a server that was switched to, or behind a pooler that changes
    /// sessions, is no fault of an event. The projection tries again by itself.
    @Test(arguments: ["26000", "42P05", "3F000", "25006"]) func anErrorOfTheSessionIsNone(code: String) async throws {
        try await TestLedger.with { ledger async throws in
            let owner = try await ledger.connect()
            try await owner.execute(
                script: """
                    CREATE TABLE mended (); CREATE SEQUENCE attempts;
                    CREATE FUNCTION session() RETURNS bigint LANGUAGE plpgsql AS $$
                    BEGIN
                      PERFORM nextval('attempts');
                      IF NOT EXISTS (SELECT FROM mended) THEN
                        RAISE EXCEPTION 'not this session' USING ERRCODE = '\(code)';
                      END IF;
                      RETURN 1;
                    END
                    $$
                    """)
            let definition = try ProjectionDefinition.countingEvents(and: "SELECT session()")
            try await ledger.queue("a")
            try await ledger.projecting([definition]) {
                _ = try await eventually("it has tried three times") {
                    try await owner.query("SELECT last_value FROM attempts WHERE last_value >= 3").first
                }
                #expect(try await ledger.state("counts")?.stopped == nil)
                try await owner.execute(script: "INSERT INTO mended DEFAULT VALUES")
                try await ledger.caughtUp("counts")
            }
            #expect(try await owner.query("SELECT count FROM counts").only().decode(0, as: Int64.self) == 1)
            await owner.close()
        }
    }

    /// If a changed definition cannot fold an event, the old tables stay in use, and the rebuild
    /// reports the event. It goes on from there once that event is skipped.
    @Test func stopsARebuildButNotTheTablesInUse() async throws {
        try await TestLedger.with { ledger async throws in
            let old = try ProjectionDefinition.counting(
                "counts", apply: "INSERT INTO counts SELECT stream_id, 0 FROM new_events ON CONFLICT DO NOTHING")
            try await ledger.queue("a")
            let poison = try await Self.poison(ledger)
            try await ledger.progress("a", 10)
            try await ledger.projecting([old]) { try await ledger.caughtUp("counts") }
            let owner = try await ledger.connect()
            let new = try Self.poisoned()
            try await ledger.projecting([new]) {
                let failed = try await eventually("the rebuild stops") {
                    try await RebuildState.all(ledger: ledger.name, on: owner).first?.failed
                }
                #expect(failed.position == poison.position && failed.event == poison.eventID)
                #expect(failed.error.contains("division by zero"))
                #expect(try await ledger.state("counts")?.definition == old.hash)
                #expect(
                    try await owner.query("SELECT count FROM counts").only().decode(0, as: Int64.self) == 0,
                    "the old table serves")
                // The rebuild may be trying again, and then no failure is on record.
                _ = try await eventually("it is skipped") {
                    do {
                        return try await SkippedEvents.skip(
                            poison.position, of: "counts", because: "ticket 8", by: "ada", on: owner)
                    } catch let error as PostgresError where error.message.contains("is not stopped") {
                        return nil
                    }
                }
                _ = try await eventually("rebuilt") {
                    try await ledger.state("counts")?.definition == new.hash ? true : nil
                }
            }
            #expect(try await owner.query("SELECT count FROM counts").only().decode(0, as: Int64.self) == 2)
            #expect(try await ledger.verify(new).isEqual)
            await owner.close()
        }
    }
}
