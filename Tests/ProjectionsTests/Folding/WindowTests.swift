import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import Projections

/// What `apply.sql` reads.
@Suite struct WindowTests {
    /// The past is read by the columns of the present: their types, and their collations.
    @Test func thePastHasTheColumnsOfThePresent() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let (past, present) = try await connection.discardedTransaction { connection in
                try await connection.execute(script: AsOfEvents.view("stream_id = 'a'"))
                func columns(_ view: String) async throws -> [String] {
                    try await connection.query(
                        """
                        SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), collname) FROM pg_attribute
                          LEFT JOIN pg_collation ON pg_collation.oid = attcollation
                         WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum
                        """, view
                    ).map { try $0.decode(0) }
                }
                return (try await columns("pg_temp.new_events"), try await columns("\"\(ledger.name)\".new_events"))
            }
            #expect(past == present)
            #expect(present.contains("stream_id text default"))
            await connection.close()
        }
    }

    /// A fold that asks for the order of another index does not have the whole log read for a
    /// window of some events.
    @Test func aWindowIsReadAlongTheLog() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.counting(
                "counts",
                apply: """
                    INSERT INTO counts
                    SELECT id, max(place)
                      FROM (SELECT stream_id COLLATE "C" AS id, row_number() OVER (PARTITION BY stream_id COLLATE "C" ORDER BY position, one) AS place
                              FROM new_events, generate_series(1, version) AS one) AS placed
                     GROUP BY id
                    ON CONFLICT (id) DO UPDATE SET count = counts.count + excluded.count
                    """)
            let connection = try await ledger.connect()
            for part in 0..<4 { try await ledger.appendHistory(jobs: 2500, events: 10, seed: UInt64(part)) }
            try await connection.execute(script: "ALTER TABLE events SET (autovacuum_enabled = off); ANALYZE events")
            let live = LiveProjection(definition: definition, ledger: ledger.name)
            try await live.install(on: connection)
            let before = try await FoldCostTests.blocks(of: "events", on: connection)
            #expect(try await live.step(after: 0, upTo: 500, on: connection) == .advanced(to: 500))
            let touched = try await FoldCostTests.blocks(of: "events", on: connection) - before
            #expect(touched < 1000, "\(touched) blocks for 500 events of 10,000")
            await connection.close()
        }
    }

    /// The check folds ids with the collation that they have in production, also where that sorts
    /// otherwise than by bytes.
    @Test func theCheckSortsIdsAsProductionDoes() async throws {
        let server = try await TestServers.shared.postgresURL()
        let database = "icu_\(UUID().uuidString.lowercased().prefix(8))"
        let owner = try await PostgresConnection.connect(PostgresConfiguration(url: server), timeout: .seconds(30))
        try await owner.execute(
            script:
                "CREATE DATABASE \"\(database)\" TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C.UTF-8'"
        )
        let definition = try ProjectionDefinition(
            folder: "last",
            files: [
                "projection.json": #"{"name":"last","consumes":["queued"],"key":"log","tables":["last"]}"#,
                "schema.sql": "CREATE TABLE last (one integer PRIMARY KEY, id text NOT NULL);",
                "apply.sql": """
                INSERT INTO last SELECT 1, max(stream_id) FROM new_events HAVING count(*) > 0
                ON CONFLICT (one) DO UPDATE SET id = greatest(last.id, excluded.id);
                """,
                // By bytes B comes before a, in English behind it.
                "cases/two.json": """
                {"about": "two", "events": [{"job": "a", "type": "queued", "data": {"name": "x"}}, {"job": "B", "type": "queued", "data": {"name": "x"}}],
                 "expect": {"last": [{"one": 1, "id": "B"}]}}
                """,
            ])
        var url = try #require(URLComponents(string: server))
        url.path = "/\(database)"
        let outcome = try await ProjectionCheck(definition).run(url: try #require(url.string))
        #expect(outcome.diagnostics == [] && outcome.folds > 6)
        #expect(try await Cases([definition]).run(url: try #require(url.string)).allSatisfy { $0.problems.isEmpty })
        try await owner.execute(script: "DROP DATABASE \"\(database)\"")
        await owner.close()
    }
}
