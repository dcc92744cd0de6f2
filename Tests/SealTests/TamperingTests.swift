import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing
import TransparencyLog

@testable import Seal

/// What whoever owns the database can do to the log, with the triggers off: all of it is found, and
/// named by position.
@Suite struct TamperingTests {
    /// JOBLEDGER_SOAK=1 for a million events.
    private static let count = ProcessInfo.processInfo.environment["JOBLEDGER_SOAK"] == nil ? 20_000 : 1_000_000

    private typealias Finding = SealVerification.Finding

    private struct Case {
        var what: String
        var script: String
        var expected: [String]

        init(_ what: String, _ script: String, _ expected: String...) {
            (self.what, self.script, self.expected) = (what, script, expected)
        }
    }

    /// A sealed log of `n` events and what is done to it, with what must be found: kind and
    /// positions, all of them and no other.
    private static func cases(_ n: Int) -> [Case] {
        // Not where tiles begin or end, but for the last ones.
        let (a, b) = (n / 3 + 5, n / 2 + 77)
        let far = 1_000_000_000
        func shift(from position: Int, by distance: Int) -> String {
            """
            UPDATE events SET position = position + \(far) WHERE position >= \(position);
            UPDATE events SET position = position - \(far - distance) WHERE position > \(far)
            """
        }
        /// A job has ten events, one behind the other.
        let job = (a / 10) * 10 + 1
        return [
            Case(
                "a byte of data", "UPDATE events SET data = (data::text || ' ')::json WHERE position = \(a)",
                "altered \(a)"),
            Case(
                "a digit of data",
                "UPDATE events SET data = replace(data::text, 'completed\":', 'completed\":1')::json WHERE position = \(job + 2)",
                "altered \(job + 2)"),
            Case(
                "metadata", "UPDATE events SET metadata = '{\"actor\":\"eve\"}' WHERE position = \(b)", "altered \(b)"),
            Case(
                "when it was recorded",
                "UPDATE events SET recorded_at = recorded_at + '1 microsecond' WHERE position = \(a)",
                "altered \(a)"),
            Case(
                "when it occurred", "UPDATE events SET occurred_at = 'infinity' WHERE position = \(a)", "altered \(a)"),
            Case("its id", "UPDATE events SET event_id = gen_random_uuid() WHERE position = \(a)", "altered \(a)"),
            Case("whose it is", "UPDATE events SET stream_id = stream_id || '!' WHERE position = \(a)", "altered \(a)"),
            Case("its category", "UPDATE events SET category = 'x' WHERE position = \(a)", "altered \(a)"),
            Case("its total", "UPDATE events SET total = total + 1 WHERE position = \(a)", "altered \(a)"),
            Case(
                "what is completed", "UPDATE events SET completed = completed + 1 WHERE position = \(job + 2)",
                "altered \(job + 2)"),
            Case(
                "its type",
                "UPDATE events SET type = CASE type WHEN 'failed' THEN 'finished' ELSE 'failed' END WHERE position = \(job + 9)",
                "altered \(job + 9)"),
            Case(
                "two swapped",
                """
                UPDATE events SET position = \(far) WHERE position = \(a); UPDATE events SET position = \(a) WHERE position = \(b);
                UPDATE events SET position = \(b) WHERE position = \(far)
                """, "moved \(a)", "moved \(b)"),
            Case(
                "two swapped but for their places",
                """
                UPDATE events AS e SET data = o.data FROM events AS o
                 WHERE (e.position, o.position) IN ((\(job + 3), \(job + 5)), (\(job + 5), \(job + 3)))
                """, "altered \(job + 3)", "altered \(job + 5)"),
            Case("one removed", "DELETE FROM events WHERE position = \(a)", "removed \(a)"),
            Case(
                "one removed, the rest renumbered",
                "DELETE FROM events WHERE position = \(a); \(shift(from: a, by: -1))",
                "removed \(a)", "moved \(a)-\(n - 1)"),
            Case(
                "one removed, the rest renumbered, versions too",
                """
                DELETE FROM events WHERE position = \(job + 4); UPDATE events SET version = version - 1 WHERE position BETWEEN \(job + 5) AND \(job + 9);
                \(shift(from: job + 4, by: -1))
                """,
                // Which of the job's events is gone cannot be told: each that is left is another
                // than was sealed.
                "altered \(job + 4)", "altered \(job + 5)", "altered \(job + 6)", "altered \(job + 7)",
                "altered \(job + 8)",
                "removed \(job + 9)", "moved \(job + 9)-\(n - 1)"),
            Case("the last removed", "DELETE FROM events WHERE position = \(n)", "removed \(n)"),
            Case(
                "the first removed, the rest renumbered",
                "DELETE FROM events WHERE position = 1; \(shift(from: 1, by: -1))",
                "removed 1", "moved 1-\(n - 1)"),
            Case(
                "one added at the end of the sealed part",
                """
                \(shift(from: n, by: 1));
                INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at, completed)
                SELECT \(n), gen_random_uuid(), 'eve', 2, 'progress', '{"completed":1}', recorded_at, 1 FROM events WHERE position = \(n - 1)
                """, "added \(n)", "moved \(n + 1)"),
            Case(
                "one added, the rest renumbered",
                """
                \(shift(from: a, by: 1));
                INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at, completed)
                SELECT \(a), gen_random_uuid(), 'eve', 2, 'progress', '{"completed":1}', recorded_at, 1 FROM events WHERE position = \(a - 1)
                """, "added \(a)", "moved \(a + 1)-\(n + 1)"),
            Case(
                "one behind the sealed part, from before",
                """
                INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at, completed)
                SELECT \(n + 1), gen_random_uuid(), 'eve', 2, 'progress', '{"completed":1}', recorded_at - '1 day'::interval, 1 FROM events WHERE position = \(n)
                """, "time \(n + 1)"),
            Case(
                "one behind the sealed part, with a gap",
                """
                INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at, completed)
                SELECT \(n + 3), gen_random_uuid(), 'eve', 2, 'progress', '{"completed":1}', recorded_at, 1 FROM events WHERE position = \(n)
                """, "removed \(n + 1)-\(n + 2)"),
            Case(
                "a whole job removed", "DELETE FROM events WHERE position BETWEEN \(job) AND \(job + 9)",
                "removed \(job)", "removed \(job + 1)", "removed \(job + 2)", "removed \(job + 3)",
                "removed \(job + 4)",
                "removed \(job + 5)",
                "removed \(job + 6)", "removed \(job + 7)", "removed \(job + 8)", "removed \(job + 9)"),
            Case(
                "a whole job removed, the rest renumbered",
                "DELETE FROM events WHERE position BETWEEN \(job) AND \(job + 9); \(shift(from: job, by: -10))",
                "removed \(job)", "moved \(job)-\(n - 10)", "removed \(job + 1)", "removed \(job + 2)",
                "removed \(job + 3)",
                "removed \(job + 4)",
                "removed \(job + 5)", "removed \(job + 6)", "removed \(job + 7)", "removed \(job + 8)",
                "removed \(job + 9)"),
        ]
    }

    @Test func found() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fillJobs(Self.count)
            #expect(try await sealed.sealer().sealUntilHead() == Int64(Self.count))
            try await sealed.dropConstraints()
            let clean = try await sealed.verify()
            #expect(clean.isClean && clean.position == Int64(Self.count), "\(clean.findings)")
            let connection = try await sealed.ledger.connect()
            try await connection.execute(script: "CREATE TABLE untouched AS SELECT * FROM events")
            for tampering in Self.cases(Self.count) {
                try await sealed.tamper(tampering.script)
                let answer = try await sealed.verify()
                #expect(!answer.isClean)
                #expect(answer.findings.map(\.brief) == tampering.expected, "\(tampering.what)")
                #expect(answer.position == Int64(Self.count))
                try await sealed.restoreEvents()
            }
            #expect(try await sealed.verify().isClean)
            await connection.close()
        }
    }

    /// Events, tiles and all of the seal rewritten together: found as far as the signature reaches,
    /// and by who has a checkpoint.
    @Test func sealRewritten() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fillJobs(3000)
            _ = try await sealed.sealer(window: 1000).sealUntilHead()
            try await sealed.dropConstraints()
            let witnessed = try #require(try await sealed.state().last?.checkpoint)
            let connection = try await sealed.ledger.connect()
            try await connection.execute(script: "CREATE TABLE untouched AS SELECT * FROM events")
            // The event and its hash in the tile.
            try await sealed.tamper("UPDATE events SET data = '{\"completed\":9}' WHERE position = 700")
            let forged = try await sealed.leaves()[699].hash
            try await sealed.tamper(
                "UPDATE seal_tiles SET hashes = overlay(hashes PLACING '\\x\(forged.hex)'::bytea FROM \(699 % 256 * 32 + 1)) WHERE level = 0 AND number = 2"
            )
            #expect(try await sealed.verify().findings.map(\.brief) == ["tile 513-768"])
            // With tiles from elsewhere it is named all the same.
            try await sealed.restoreEvents()
            #expect(try await sealed.verify().findings.map(\.brief) == ["tile 513-768"])
            #expect(
                try await sealed.verify().findings[0].message.contains(
                    "the events that it stands for are what was sealed"))
            try await connection.execute(
                script:
                    "ALTER TABLE seal_tiles DISABLE TRIGGER ALL; DELETE FROM seal_tiles WHERE number = 2; ALTER TABLE seal_tiles ENABLE TRIGGER ALL"
            )
            #expect(try await sealed.verify().findings.map(\.brief) == ["tile 513-768"])

            // Everything anew, signed by another key of the same name.
            try await sealed.tamper(
                """
                UPDATE events SET data = '{"completed":9}' WHERE position = 700; DELETE FROM seal_tiles; DELETE FROM seal_checkpoints;
                UPDATE seal SET size = 0, edge = ''
                """)
            try FileManager.default.removeItem(atPath: sealed.recordPath)
            let thief = try SealKey(name: sealed.key.name)
            _ = try await sealed.sealer(thief).sealUntilHead()
            #expect(try await sealed.verify(key: nil).isClean)
            let found = try await sealed.verify()
            #expect(found.findings.map(\.kind) == [.checkpoint, .checkpoint])
            #expect(found.findings[1].message.contains("is not signed by the key"))
            // Who has a checkpoint needs no key.
            let history = try await sealed.verify(key: nil, against: [witnessed])
            #expect(history.findings.map(\.brief) == ["history 3000"])
            #expect(history.findings[0].message.contains("the history was rewritten"))
            await connection.close()
        }
    }

    /// The edge and the checkpoints damaged: the events are held against what can still be had.
    @Test func sealDamaged() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fillJobs(1500)
            _ = try await sealed.sealer(window: 1000).sealUntilHead()
            try await sealed.fill(100, from: 50_000)
            _ = try await sealed.sealer().sealUntilHead()
            try await sealed.dropConstraints()
            let connection = try await sealed.ledger.connect()
            try await connection.execute(
                script: """
                    CREATE TABLE untouched AS SELECT * FROM events; CREATE TABLE seal_copy AS SELECT * FROM seal;
                    CREATE TABLE checkpoints_copy AS SELECT * FROM seal_checkpoints
                    """)
            for (damage, message) in [
                (
                    "UPDATE seal SET edge = set_byte(edge, 5, 255 - get_byte(edge, 5))",
                    "the events themselves give what was signed"
                ),
                ("UPDATE seal SET edge = ''", "the events themselves give what was signed"),
                ("DELETE FROM seal", "the events themselves give what was signed"),
                (
                    "UPDATE seal_checkpoints SET note = 'x' || note WHERE size = 1600",
                    "held against the checkpoint of 1500"
                ),
                (
                    "UPDATE seal_checkpoints SET note = replace(note, '1600', '1599') WHERE size = 1600",
                    "held against the checkpoint of 1500"
                ),
                ("DELETE FROM seal_checkpoints WHERE size = 1600", "held against the checkpoint of 1500"),
                ("DELETE FROM seal_checkpoints", "there is no checkpoint"),
                (
                    "UPDATE seal_checkpoints SET note = 'x'",
                    "no checkpoint of the last 3 has a signature and a root that hold"
                ),
            ] {
                try await sealed.tamper(damage)
                let answer = try await sealed.verify()
                #expect(Set(answer.findings.map(\.kind)) == [.checkpoint])
                #expect(answer.findings.contains { $0.message.contains(message) }, "\(damage): \(answer.findings)")
                // What is altered besides is still named.
                try await sealed.tamper("UPDATE events SET total = 77 WHERE position = 1203")
                let altered = try await sealed.verify()
                #expect(altered.findings.contains { $0.brief == "altered 1203" }, "\(damage): \(altered.findings)")
                try await sealed.restoreEvents()
                try await sealed.tamper(
                    """
                    DELETE FROM seal; INSERT INTO seal SELECT * FROM seal_copy;
                    DELETE FROM seal_checkpoints; INSERT INTO seal_checkpoints SELECT * FROM checkpoints_copy
                    """)
            }
            #expect(try await sealed.verify().isClean)
            await connection.close()
        }
    }

    /// Upper tiles damaged: what they said follows from those below.
    @Test func upperTiles() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fillJobs(66_000, job: 1000)
            _ = try await sealed.sealer().sealUntilHead()
            try await sealed.dropConstraints()
            try await sealed.tamper(
                "UPDATE seal_tiles SET hashes = set_byte(hashes, 0, 255 - get_byte(hashes, 0)) WHERE level = 1")
            let repaired = try await sealed.verify()
            #expect(repaired.findings.map(\.brief) == ["tile 1-65536"])
            #expect(repaired.findings[0].message.contains("give what was signed"))
            try await sealed.tamper(
                "DELETE FROM seal_tiles WHERE level = 1; UPDATE events SET total = 77 WHERE position = 60000")
            #expect(try await sealed.verify().findings.map(\.brief) == ["tile 1-65536", "altered 60000"])
            try await sealed.tamper("DELETE FROM seal_tiles WHERE level = 0 AND number = 3")
            let lost = try await sealed.verify()
            #expect(lost.findings.map(\.brief) == ["tile 1-65536", "altered 60000"])
            #expect(lost.findings[0].message.contains("only those that differ"))
        }
    }

    /// A part of the log is held against the same tree.
    @Test func ranges() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fillJobs(2000)
            _ = try await sealed.sealer().sealUntilHead()
            try await sealed.fill(30, from: 90_000)
            try await sealed.dropConstraints()
            try await sealed.tamper("UPDATE events SET total = 77 WHERE position IN (300, 301, 1000, 2000)")
            for (from, to, expected) in [
                (1, 299, []), (300, 300, [300]), (301, 999, [301]), (1, 2030, [300, 301, 1000, 2000]), (1001, 1999, []),
                (2001, 2030, []), (1990, 2010, [2000]),
            ] as [(Position, Position, [Position])] {
                let answer = try await sealed.verify(from: from, to: to)
                #expect(answer.findings.map(\.brief) == expected.map { "altered \($0)" })
                #expect(answer.checked == from...to)
            }
            #expect(try await sealed.verify(from: 5000).checked == nil)
        }
    }

    /// Checkpoints from outside: of the past, of what is not sealed yet, of what is gone.
    @Test func against() async throws {
        try await SealedLedger.with { sealed in
            #expect(try await sealed.verify().isClean)
            try await sealed.fill(100)
            #expect(try await sealed.verify().findings.map(\.brief) == ["checkpoint 0"])
            let roots = roots(try await sealed.leaves())
            func checkpoint(_ size: Int, _ root: MerkleHash) throws -> SignedCheckpoint {
                try SignedCheckpoint(
                    TreeHead(origin: sealed.key.name, size: Int64(size), root: root), signedBy: sealed.key)
            }
            // 60 are sealed, 100 are there.
            try await sealed.tamper(
                "CREATE TABLE rest AS SELECT * FROM events WHERE position > 60; DELETE FROM events WHERE position > 60")
            _ = try await sealed.sealer().sealUntilHead()
            try await sealed.tamper("INSERT INTO events SELECT * FROM rest")
            for size in [1, 7, 59, 60, 61, 64, 99, 100] {
                #expect(try await sealed.verify(against: [checkpoint(size, roots[size])]).isClean, "\(size)")
                #expect(
                    try await sealed.verify(against: [checkpoint(size, roots[size - 1])]).findings.map(\.brief) == [
                        "history \(size)"
                    ])
            }
            let cut = try await sealed.verify(against: [checkpoint(101, roots[100])])
            #expect(cut.findings.map(\.brief) == ["history 101"])
            #expect(cut.findings[0].message.contains("the log ends at 100"))
        }
    }
}

extension SealVerification.Finding {
    /// Its kind and its positions.
    var brief: String {
        "\(kind) \(positions.lowerBound)" + (positions.count == 1 ? "" : "-\(positions.upperBound)")
    }
}

extension SealedLedger {
    func verify(
        key: VerifierKey?, against: [SignedCheckpoint] = [], from: Position = 1, to: Position = .max
    ) async throws -> SealVerification.Answer {
        try await SealVerification(ledger.store, key: key, against: against).run(from: from, to: to)
    }

    func verify(against: [SignedCheckpoint] = [], from: Position = 1, to: Position = .max) async throws
        -> SealVerification.Answer
    {
        try await verify(key: key.verifier, against: against, from: from, to: to)
    }

    /// Jobs of ten events, or of more, one behind the other.
    func fillJobs(_ count: Int, job: Int = 10) async throws {
        for start in stride(from: 0, to: count, by: 10_000) {
            var requests: [AppendRequest] = []
            for first in stride(from: start, to: min(count, start + 10_000), by: job) {
                let events = (0..<min(job, count - first)).map { step in
                    let metadata = step % 3 == 0 ? #"{"actor":"ada"}"# : "{}"
                    return switch step {
                    case 0: NewEvent(type: "queued", data: #"{"name":"test","total":50000}"#, metadata: metadata)
                    case job - 1: NewEvent(type: "finished", data: "{}", metadata: metadata)
                    default: NewEvent(type: "progress", data: #"{"completed":\#(step)}"#, metadata: metadata)
                    }
                }
                requests.append(AppendRequest(job: "job-\(first)", events: events))
            }
            for answer in try await ledger.store.append(requests) { _ = try answer.get() }
        }
    }

    /// Takes away what the tables check by themselves: keys and types stay, for a forger keeps to
    /// them as well.
    func dropConstraints() async throws {
        try await tamper("ALTER TABLE events DROP CONSTRAINT events_job_type")
    }

    /// Puts the events back as they were in the table `untouched`.
    func restoreEvents() async throws {
        try await tamper("TRUNCATE events; INSERT INTO events SELECT * FROM untouched")
    }
}
