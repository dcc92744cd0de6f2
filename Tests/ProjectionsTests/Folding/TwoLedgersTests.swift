import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// Projections of several ledgers in one database: each folds its own log into its own tables.
@Suite struct TwoLedgersTests {
    @Test func projectTheirOwnEvents() async throws {
        try await TestLedger.with { one async throws in
            try await TestLedger.with { other async throws in
                let definition = try ProjectionDefinition.builtIn("batch_jobs")
                try await one.queue("a", total: 5)
                try await one.progress("a", 3)
                try await other.queue("a", total: 9)
                try await other.queue("b")
                try await one.projecting([definition]) {
                    // One projector works on a projection of each ledger, not of each database.
                    try await other.projecting([definition]) {
                        try await one.caughtUp("batch_jobs")
                        try await other.caughtUp("batch_jobs")
                    }
                }
                let models = (
                    try StreamReadModel(definition, of: .job, store: one.store),
                    try StreamReadModel(definition, of: .job, store: other.store)
                )
                #expect(try await models.0.row("a")?.contains(#""status":"running","total":5,"completed":3"#) == true)
                #expect(try await models.1.row("a")?.contains(#""status":"queued","total":9,"completed":0"#) == true)
                #expect(try await models.0.row("b") == nil)
                #expect(try await models.0.row("a", at: 1)?.contains(#""total":5,"completed":0"#) == true)
                #expect(try await models.1.row("a", at: 1)?.contains(#""total":9,"completed":0"#) == true)
            }
        }
    }

    /// One ledger is rebuilt and verified in the middle of the other's rebuild. Neither waits, and
    /// each gets its own digest.
    @Test(.timeLimit(.minutes(10))) func rebuildSideBySide() async throws {
        try await TestLedger.with { one async throws in
            try await TestLedger.with { other async throws in
                let definition = try ProjectionDefinition.builtIn("batch_jobs")
                try await one.appendHistory(jobs: 20, events: 100, seed: 1)
                try await other.appendHistory(jobs: 10, events: 100, seed: 2)
                let connection = try await one.connect()
                let receipt = try await Rebuild(definition, ledger: one.name, window: 50).run(on: connection) {
                    position, _ async throws in
                    guard position == 50 else { return }
                    #expect(try await other.rebuild(definition).rows == 10)
                    #expect(try await other.verify(definition).isEqual)
                }
                #expect(receipt.rows == 20)
                let finding = try await Verification(definition, ledger: one.name, window: 50).run(on: connection) {
                    position, _ in
                    if position == 50 { _ = try await other.rebuild(definition) }
                }
                #expect(finding.isEqual && finding.liveDigest == receipt.digest)
                await connection.close()
            }
        }
    }

    /// No ledger can have the name of a schema in which rebuilds and verifications make tables.
    @Test func rebuildBesideLedgersOfSimilarNames() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.queue("a")
            let connection = try await ledger.connect()
            let process = await connection.serverProcess
            let neighbours = ["_new_batch_jobs", "_new_batch_jobs_old", "_verify_\(process)", "_\(process)", "_old"].map
            {
                "\(ledger.name)\($0)"
            }
            for neighbour in neighbours {
                #expect(LedgerName(neighbour) != nil)
                try await connection.execute(script: "CREATE SCHEMA \"\(neighbour)\"")
            }
            // Twice, because the second rebuild replaces tables.
            for _ in 1...2 { _ = try await Rebuild(definition, ledger: ledger.name).run(on: connection) }
            #expect(try await Verification(definition, ledger: ledger.name).run(on: connection).isEqual)
            for neighbour in neighbours { try await connection.execute(script: "DROP SCHEMA \"\(neighbour)\"") }
            await connection.close()
        }
    }

    /// Names that are made of the longest names are not cut, so two that differ at the end stay
    /// different.
    @Test func rebuildWithTheLongestNames() async throws {
        try await TestLedger.with { ledger async throws in
            let stem = "\(ledger.name)_".padding(to: 49)
            let names = ["a", "b"].map { LedgerName(stem + $0)! }
            let definition = try ProjectionDefinition.counting(
                "seen_".padding(to: 50),
                apply: "INSERT INTO \("seen_".padding(to: 50)) SELECT stream_id, 1 FROM new_events")
            for name in names {
                _ = try await Migrator(url: ledger.url, ledger: name, files: try MigrationFile.embedded()).up()
            }
            let stores = names.map { EventStore(url: ledger.url, ledger: $0, connections: 1) }
            for (number, store) in stores.enumerated() {
                for job in 0...number {
                    _ = try await store.append(NewEvent(type: "queued", data: #"{"name":"n"}"#), to: "\(job)")
                }
            }
            func connect(_ name: LedgerName) async throws -> PostgresConnection {
                try await PostgresConnection.connect(EventStore.configuration(url: ledger.url, ledger: name))
            }
            let connections = (try await connect(names[0]), try await connect(names[1]))
            for _ in 1...2 {
                let first = try await Rebuild(definition, ledger: names[0]).run(on: connections.0) {
                    _, _ async throws in
                    #expect(try await Rebuild(definition, ledger: names[1]).run(on: connections.1).rows == 2)
                }
                #expect(first.rows == 1)
            }
            for name in names { try await connections.0.execute(script: "DROP SCHEMA \"\(name)\" CASCADE") }
            await connections.0.close()
            await connections.1.close()
            for store in stores { await store.close() }
        }
    }
}

extension String {
    fileprivate func padding(to length: Int) -> String { self + String(repeating: "x", count: length - count) }
}
