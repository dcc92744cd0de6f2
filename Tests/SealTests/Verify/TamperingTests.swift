import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing
import TransparencyLog

@testable import Seal

/// Whatever the owner of the database does to the log with the triggers off is found, and named by
/// position.
@Suite struct TamperingTests {
    /// JOBLEDGER_SOAK=1 for a million events.
    private static let count = ProcessInfo.processInfo.environment["JOBLEDGER_SOAK"] == nil ? 20_000 : 1_000_000

    private typealias Finding = SealVerification.Finding

    private struct Case {
        var what: String
        var script: String
        var expected: [String]

        init(_ what: String, _ script: String, _ expected: [String]) {
            (self.what, self.script, self.expected) = (what, script, expected)
        }
    }

    /// Where the cases change a log of `n` events. None of the positions is the first or last one
    /// of a tile, unless a case says so.
    private struct Places {
        let n: Int
        var a: Int { n / 3 + 5 }
        var b: Int { n / 2 + 77 }
        /// The first event of a job with ten events in a row.
        var job: Int { (a / 10) * 10 + 1 }
        /// A position that no event has.
        let far = 1_000_000_000

        /// Moves the events from `position` on by `distance`.
        func shift(from position: Int, by distance: Int) -> String {
            """
            UPDATE events SET position = position + \(far) WHERE position >= \(position);
            UPDATE events SET position = position - \(far - distance) WHERE position > \(far)
            """
        }

        /// Adds an event.
        /// - Parameters:
        ///   - recordedAt: an SQL expression over the event before.
        ///   - before: the position of the event before.
        func insert(at position: Int, recordedAt: String = "recorded_at", before: Int) -> String {
            """
            INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at, completed)
            SELECT \(position), gen_random_uuid(), 'eve', 2, 'progress', '{"completed":1}', \(recordedAt), 1
              FROM events WHERE position = \(before)
            """
        }

        /// Removes a whole job.
        var deleteJob: String { "DELETE FROM events WHERE position BETWEEN \(job) AND \(job + 9)" }
        var removedJob: [String] { (0..<10).map { "removed \(job + $0)" } }
    }

    /// What is done to a sealed log of `n` events, and what must be found: these findings and no
    /// others.
    private static func cases(_ n: Int) -> [Case] {
        let places = Places(n: n)
        return altered(places) + swapped(places) + removed(places) + added(places)
    }

    /// One column of one event.
    private static func altered(_ at: Places) -> [Case] {
        func set(_ what: String, _ assignment: String, at position: Int) -> Case {
            Case(what, "UPDATE events SET \(assignment) WHERE position = \(position)", ["altered \(position)"])
        }
        let (progress, end) = (at.job + 2, at.job + 9)
        return [
            set("a byte of data", "data = (data::text || ' ')::json", at: at.a),
            set(
                "a digit of data", "data = replace(data::text, 'completed\":', 'completed\":1')::json", at: progress),
            set("metadata", "metadata = '{\"actor\":\"eve\"}'", at: at.b),
            set("when it was recorded", "recorded_at = recorded_at + '1 microsecond'", at: at.a),
            set("when it occurred", "occurred_at = 'infinity'", at: at.a),
            set("the event id", "event_id = gen_random_uuid()", at: at.a),
            set("the job", "stream_id = stream_id || '!'", at: at.a),
            set("the category", "category = 'x'", at: at.a),
            set("the total", "total = total + 1", at: at.a),
            set("what is completed", "completed = completed + 1", at: progress),
            set("the type", "type = CASE type WHEN 'failed' THEN 'finished' ELSE 'failed' END", at: end),
        ]
    }

    private static func swapped(_ at: Places) -> [Case] {
        let (one, other) = (at.job + 3, at.job + 5)
        return [
            Case(
                "two swapped",
                """
                UPDATE events SET position = \(at.far) WHERE position = \(at.a);
                UPDATE events SET position = \(at.a) WHERE position = \(at.b);
                UPDATE events SET position = \(at.b) WHERE position = \(at.far)
                """, ["moved \(at.a)", "moved \(at.b)"]),
            Case(
                "the data of two swapped",
                """
                UPDATE events AS e SET data = o.data FROM events AS o
                 WHERE (e.position, o.position) IN ((\(one), \(other)), (\(other), \(one)))
                """, ["altered \(one)", "altered \(other)"]),
        ]
    }

    private static func removed(_ at: Places) -> [Case] {
        let (n, a, job) = (at.n, at.a, at.job)
        return [
            Case("one removed", "DELETE FROM events WHERE position = \(a)", ["removed \(a)"]),
            Case(
                "one removed, the rest renumbered",
                "DELETE FROM events WHERE position = \(a); \(at.shift(from: a, by: -1))",
                ["removed \(a)", "moved \(a)-\(n - 1)"]),
            Case(
                "one removed, the rest renumbered, versions too",
                """
                DELETE FROM events WHERE position = \(job + 4);
                UPDATE events SET version = version - 1 WHERE position BETWEEN \(job + 5) AND \(job + 9);
                \(at.shift(from: job + 4, by: -1))
                """,
                // It cannot be told which event of the job is gone: each one that is left differs
                // from what was sealed.
                (4...8).map { "altered \(job + $0)" } + ["removed \(job + 9)", "moved \(job + 9)-\(n - 1)"]),
            Case("the last removed", "DELETE FROM events WHERE position = \(n)", ["removed \(n)"]),
            Case(
                "the first removed, the rest renumbered",
                "DELETE FROM events WHERE position = 1; \(at.shift(from: 1, by: -1))",
                ["removed 1", "moved 1-\(n - 1)"]),
            Case("a whole job removed", at.deleteJob, at.removedJob),
            Case(
                "a whole job removed, the rest renumbered", "\(at.deleteJob); \(at.shift(from: job, by: -10))",
                [at.removedJob[0], "moved \(job)-\(n - 10)"] + at.removedJob.dropFirst()),
        ]
    }

    private static func added(_ at: Places) -> [Case] {
        let (n, a) = (at.n, at.a)
        return [
            Case(
                "one added at the end of the sealed part",
                "\(at.shift(from: n, by: 1)); \(at.insert(at: n, before: n - 1))", ["added \(n)", "moved \(n + 1)"]),
            Case(
                "one added, the rest renumbered",
                "\(at.shift(from: a, by: 1)); \(at.insert(at: a, before: a - 1))",
                ["added \(a)", "moved \(a + 1)-\(n + 1)"]),
            Case(
                "one after the sealed part, with an earlier time",
                at.insert(at: n + 1, recordedAt: "recorded_at - '1 day'::interval", before: n), ["time \(n + 1)"]),
            Case(
                "one after the sealed part, with a gap before it", at.insert(at: n + 3, before: n),
                ["removed \(n + 1)-\(n + 2)"]),
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

    /// Events, tiles and the whole seal rewritten together: the key finds it where something is
    /// signed, and so does whoever has an old checkpoint.
    @Test func sealRewritten() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fillJobs(3000)
            _ = try await sealed.sealer(window: 1000).sealUntilHead()
            try await sealed.dropConstraints()
            let witnessed = try #require(try await sealed.state().last?.checkpoint)
            let connection = try await sealed.ledger.connect()
            try await connection.execute(script: "CREATE TABLE untouched AS SELECT * FROM events")
            // The event, and its hash in the tile.
            try await sealed.tamper("UPDATE events SET data = '{\"completed\":9}' WHERE position = 700")
            let forged = try await sealed.leaves()[699].hash
            try await sealed.tamper(
                """
                UPDATE seal_tiles
                   SET hashes = overlay(hashes PLACING '\\x\(forged.hex)'::bytea FROM \(699 % 256 * 32 + 1))
                 WHERE level = 0 AND number = 2
                """)
            #expect(try await sealed.verify().findings.map(\.brief) == ["tile 513-768"])
            // With the true event, the tile alone is what was altered.
            try await sealed.restoreEvents()
            #expect(try await sealed.verify().findings.map(\.brief) == ["tile 513-768"])
            #expect(
                try await sealed.verify().findings[0].message.contains(
                    "the events that it stands for are what was sealed"))
            try await connection.execute(
                script: """
                    ALTER TABLE seal_tiles DISABLE TRIGGER ALL;
                    DELETE FROM seal_tiles WHERE number = 2;
                    ALTER TABLE seal_tiles ENABLE TRIGGER ALL
                    """)
            #expect(try await sealed.verify().findings.map(\.brief) == ["tile 513-768"])

            // Everything made again, signed by another key of the same name.
            try await sealed.tamper(
                """
                UPDATE events SET data = '{"completed":9}' WHERE position = 700;
                DELETE FROM seal_tiles; DELETE FROM seal_checkpoints;
                UPDATE seal SET size = 0, edge = ''
                """)
            try FileManager.default.removeItem(atPath: sealed.recordPath)
            let thief = try SealKey(name: sealed.key.name)
            _ = try await sealed.sealer(thief).sealUntilHead()
            #expect(try await sealed.verify(key: nil).isClean)
            let found = try await sealed.verify()
            #expect(found.findings.map(\.kind) == [.checkpoint, .checkpoint])
            #expect(found.findings[1].message.contains("is not signed by the key"))
            // Whoever has an old checkpoint needs no key.
            let history = try await sealed.verify(key: nil, against: [witnessed])
            #expect(history.findings.map(\.brief) == ["history 3000"])
            #expect(history.findings[0].message.contains("the history was rewritten"))
            await connection.close()
        }
    }

    /// The edge and the checkpoints damaged: the events are checked against what is left.
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
                    "checked against the checkpoint of 1500"
                ),
                (
                    "UPDATE seal_checkpoints SET note = replace(note, '1600', '1599') WHERE size = 1600",
                    "checked against the checkpoint of 1500"
                ),
                ("DELETE FROM seal_checkpoints WHERE size = 1600", "checked against the checkpoint of 1500"),
                ("DELETE FROM seal_checkpoints", "there is no checkpoint"),
                (
                    "UPDATE seal_checkpoints SET note = 'x'",
                    "none of the last 3 checkpoints has a valid signature"
                ),
            ] {
                try await sealed.tamper(damage)
                let answer = try await sealed.verify()
                #expect(Set(answer.findings.map(\.kind)) == [.checkpoint])
                #expect(answer.findings.contains { $0.message.contains(message) }, "\(damage): \(answer.findings)")
                // An event that is altered as well is still named.
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

    /// An error of Postgres while tiles are read is an error, and not a finding about the log.
    @Test func errorsAreNotFindings() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fillJobs(400)
            _ = try await sealed.sealer().sealUntilHead()
            let old = try #require(try await sealed.state().last?.checkpoint)
            try await sealed.fillJobs(200, from: 400)
            _ = try await sealed.sealer().sealUntilHead()
            #expect(try await sealed.verify(against: [old], from: 600).isClean)
            let connection = try await sealed.ledger.connect()
            try await connection.execute(script: "ALTER TABLE seal_tiles RENAME COLUMN hashes TO unreadable")
            await connection.close()
            // The last event is in the edge, so only the comparison with the checkpoint needs a
            // tile.
            #expect(try await sealed.verify(from: 600).isClean)
            await #expect(throws: PostgresError.self) { try await sealed.verify(against: [old], from: 600) }
        }
    }

    /// Upper tiles damaged: their hashes follow from the tiles below.
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

    /// A part of the log is checked against the same tree.
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

    /// Checkpoints from outside: of the past, of events that are not sealed yet, and of events that
    /// are gone.
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
