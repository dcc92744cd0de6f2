import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

@Suite struct RebuildTests {
    /// A verification finds tampered rows and their columns, and a rebuild repairs them.
    @Test func verifyFindsTampering() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            for job in ["a", "b", "c"] { try await ledger.queue(job, total: 5) }
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            #expect(try await ledger.verify(definition).isEqual)

            let connection = try await ledger.connect()
            try await connection.execute(
                script: """
                    UPDATE batch_jobs SET completed = 4 WHERE id = 'a';
                    DELETE FROM batch_jobs WHERE id = 'b';
                    INSERT INTO batch_jobs (id, name, status) VALUES ('x', 'x', 'queued')
                    """)
            let finding = try await ledger.verify(definition)
            #expect(!finding.isEqual && finding.liveDigest != finding.rebuiltDigest)
            #expect(finding.differences.map(\.key) == [#"{"id" : "a"}"#, #"{"id" : "b"}"#, #"{"id" : "x"}"#])
            #expect(finding.differences[0].columns == ["completed"])
            #expect(finding.differences[1].live == nil && finding.differences[2].expected == nil)

            _ = try await ledger.rebuild(definition)
            #expect(try await ledger.verify(definition).isEqual)
            let schemas = try await connection.query(
                "SELECT count(*) FROM pg_namespace WHERE nspname LIKE $1 || '-%'", ledger.name.text)
            #expect(try schemas.only().decode(0, as: Int64.self) == 0, "a schema was left behind")
            await connection.close()
        }
    }

    /// While changed definitions are rebuilt, every query sees all rows, through the table and
    /// through a view. Grants stay.
    @Test func readersNeverSeeAnEmptyTable() async throws {
        try await TestLedger.with { ledger async throws in
            let apply = "INSERT INTO seen SELECT stream_id, 1 FROM new_events ON CONFLICT DO NOTHING"
            for job in 0..<200 { try await ledger.queue("job \(job)") }
            try await ledger.projecting([.counting("seen", apply: apply)]) { try await ledger.caughtUp("seen") }
            let owner = try await ledger.connect()
            try await owner.execute(
                script: """
                    CREATE VIEW seen_twice AS SELECT id, count * 2 AS twice FROM seen;
                    GRANT UPDATE ON seen TO "\(ledger.name)_appender"
                    """)

            let isOver = Task {
                for change in 1...5 {
                    try await ledger.projecting([.counting("seen", apply: "/* \(change) */ " + apply)]) {
                        let hash = try ProjectionDefinition.counting("seen", apply: "/* \(change) */ " + apply).hash
                        _ = try await eventually("rebuilt") {
                            try await ledger.state("seen")?.definition == hash ? true : nil
                        }
                    }
                }
            }
            var looks = 0
            while !isOver.isCancelled {
                let counts = try await owner.query(
                    "SELECT (SELECT count(*) FROM seen) AS a, (SELECT count(*) FROM seen_twice) AS b"
                ).only()
                #expect(try counts.decode("a", as: Int64.self) == 200)
                #expect(try counts.decode("b", as: Int64.self) == 200)
                looks += 1
                if try await ledger.state("seen")?.definition
                    == ProjectionDefinition.counting("seen", apply: "/* 5 */ " + apply).hash
                {
                    break
                }
            }
            try await isOver.value
            #expect(looks > 5)
            for (role, right) in [("appender", "UPDATE"), ("reader", "SELECT")] {
                let granted = try await owner.query(
                    "SELECT has_table_privilege($1, 'seen', $2)", "\(ledger.name)_\(role)", right)
                #expect(try granted.only().decode(0, as: Bool.self), "\(role) lost \(right)")
            }
            await owner.close()
        }
    }

    /// A killed rebuild leaves the old table in use. The next rebuild ends with the same digest.
    @Test func aKilledRebuildLeavesTheTableInUse() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.appendHistory(jobs: 20, events: 300, seed: 1)
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            let before = try await ledger.verify(definition)
            let connection = try await ledger.connect()
            let process = await connection.serverProcess
            await #expect(throws: PostgresError.self) {
                _ = try await Rebuild(definition, ledger: ledger.name, window: 10).run(on: connection) { position, _ in
                    if position >= 100 {
                        _ = try await ledger.store.pool.withConnection {
                            try await $0.query("SELECT pg_terminate_backend($1)", process)
                        }
                    }
                }
            }
            let after = try await ledger.verify(definition)
            #expect(after.isEqual && after.liveDigest == before.liveDigest)
            #expect(try await ledger.rebuild(definition).digest == before.liveDigest)
        }
    }

    @Test func twoRebuildsOfOneProjectionExcludeEachOther() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.appendHistory(jobs: 20, events: 100, seed: 2)
            let connection = try await ledger.connect()
            let receipt = try await Rebuild(definition, ledger: ledger.name, window: 50).run(on: connection) { _, _ in
                await #expect(throws: Rebuild.Busy.self) { try await ledger.rebuild(definition) }
            }
            #expect(receipt.rows == 20)
            await connection.close()
        }
    }

    /// No rebuild swaps tables during a verification, whose snapshot could not see the new rows.
    @Test func aVerificationKeepsRebuildsOut() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.appendHistory(jobs: 20, events: 100, seed: 3)
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            let connection = try await ledger.connect()
            let finding = try await Verification(definition, ledger: ledger.name, window: 50).run(on: connection) {
                _, _ in
                await #expect(throws: Rebuild.Busy.self) { try await ledger.rebuild(definition) }
            }
            #expect(finding.isEqual)
            #expect(try await ledger.rebuild(definition).digest == finding.liveDigest)
            await connection.close()
        }
    }

    /// A new version stands by while the old one works, until an operator rebuilds with the new
    /// definition. Then the new version takes over, and the old one does not change it back.
    @Test func twoVersionsDoNotRebuildEachOther() async throws {
        try await TestLedger.with { ledger async throws in
            let apply = "INSERT INTO seen SELECT stream_id, 1 FROM new_events ON CONFLICT DO NOTHING"
            let old = try ProjectionDefinition.counting("seen", apply: apply)
            let new = try ProjectionDefinition.counting("seen", apply: "/* new */ " + apply)
            try await ledger.queue("first")
            try await ledger.projecting([old], leaseTimes: .kept) {
                try await ledger.caughtUp("seen")
                try await ledger.projecting([new], leaseTimes: .kept) {
                    _ = try await ledger.rebuild(new)
                    for job in 0..<30 {
                        try await ledger.queue("job \(job)")
                        try await ledger.caughtUp("seen")
                        #expect(try await ledger.state("seen")?.definition == new.hash, "the old one came back")
                    }
                }
            }
        }
    }

    /// The row of a job as of a position is what its events up to there give.
    @Test func asOfAPastPosition() async throws {
        try await TestLedger.with { ledger async throws in
            let model = try StreamReadModel(.builtIn("batch_jobs"), of: .job, store: ledger.store)
            try await ledger.queue("other")
            try await ledger.queue("a", total: 2)
            try await ledger.progress("a", 1)
            _ = try await ledger.store.append(NewEvent(type: "finished"), to: "a")
            let expected: [(Position, String?)] = [
                (0, nil), (1, nil), (2, #""status":"queued","total":2,"completed":0"#),
                (3, #""status":"running","total":2,"completed":1"#),
                (4, #""status":"finished","total":2,"completed":2"#),
                (99, #""status":"finished","total":2,"completed":2"#),
            ]
            for (position, part) in expected {
                let row = try await model.row("a", at: position)
                if let part {
                    #expect(row?.contains(part) == true, "at \(position): \(row ?? "nothing")")
                } else {
                    #expect(row == nil)
                }
            }
        }
    }
}
