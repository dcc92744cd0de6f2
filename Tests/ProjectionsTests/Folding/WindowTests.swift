import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import Projections

/// The events that `apply.sql` reads.
@Suite struct WindowTests {
    /// The options of a database whose collation is not that of bytes: it sorts a before B.
    private static let english = "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C.UTF-8'"

    /// Every view of events that a fold reads has the columns of the ledger's own, with their types
    /// and collations.
    @Test func everyViewHasTheSameColumns() async throws {
        try await TestDatabase.with(Self.english) { url in
            try await TestLedger.with(url: url) { ledger in
                let connection = try await ledger.connect()
                #expect(try await connection.query("SELECT 'a'::text < 'B'::text").only().decode(0))
                let live = try await Self.columns(of: "\"\(ledger.name)\".new_events", connection)
                #expect(live.contains("stream_id text default") && live.count == 13)
                for view in [
                    AsOfEvents.view("\(AsOfEvents.stream) = 'a'"),
                    DeterminismTrials.shuffledEvents("true", in: ledger.name),
                    ParallelReplay.eventsOfSlice(0, of: 2, in: ledger.name),
                ] {
                    let columns = try await connection.discardedTransaction { connection in
                        try await connection.execute(script: view)
                        return try await Self.columns(of: "pg_temp.new_events", connection)
                    }
                    #expect(columns == live, "\(view)")
                }
                await connection.close()
            }
        }
    }

    private static func columns(of view: String, _ connection: PostgresConnection) async throws -> [String] {
        try await connection.query(
            """
            SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), collname) FROM pg_attribute
              LEFT JOIN pg_collation ON pg_collation.oid = attcollation
             WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum
            """, view
        ).map { try $0.decode(0) }
    }

    /// The events of one job are found by their stream, although the view shows its id under
    /// another collation than the log's index.
    @Test func findsTheEventsOfAJobByItsStream() async throws {
        try await TestDatabase.with(Self.english) { url in
            try await TestLedger.with(url: url) { ledger in
                try await ledger.queue("a")
                let connection = try await ledger.connect()
                let plan = try await connection.discardedTransaction { connection in
                    try await connection.execute(
                        script: AsOfEvents.view("\(AsOfEvents.stream) = 'a'")
                            + "SET LOCAL jobledger.window_upto = '1'; SET LOCAL jobledger.window_types = 'queued';"
                            + "SET LOCAL enable_seqscan = off")
                    return try await connection.query("EXPLAIN SELECT * FROM new_events").map {
                        try $0.decode(0, as: String.self)
                    }
                }
                #expect(plan.contains { $0.contains("Index Cond:") && $0.contains("stream_id") }, "\(plan)")
                await connection.close()
            }
        }
    }

    /// A window of some events is read along the log, even if the fold asks for the order of
    /// another index.
    @Test func readsAWindowAlongTheLog() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.counting(
                "counts",
                apply: """
                    INSERT INTO counts
                    SELECT id, max(place)
                      FROM (SELECT stream_id COLLATE "C" AS id,
                                   row_number() OVER (PARTITION BY stream_id COLLATE "C"
                                                      ORDER BY position, one) AS place
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

    /// Live folds, the check and the cases compare ids under the same collation: that of the
    /// database.
    @Test func theCheckComparesIdsAsLiveFoldsDo() async throws {
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
                {
                  "about": "two",
                  "events": [
                    {"job": "a", "type": "queued", "data": {"name": "x"}},
                    {"job": "B", "type": "queued", "data": {"name": "x"}}
                  ],
                  "expect": {"last": [{"one": 1, "id": "B"}]}
                }
                """,
            ])
        try await TestDatabase.with(Self.english) { url in
            let outcome = try await ProjectionCheck(definition).run(url: url)
            #expect(outcome.diagnostics == [] && outcome.folds > 6)
            #expect(try await Cases([definition]).run(url: url).map(\.problems) == [[]])
            try await TestLedger.with(url: url) { ledger in
                for job in ["a", "B"] { try await ledger.queue(job) }
                try await ledger.projecting([definition]) { try await ledger.caughtUp("last") }
                let connection = try await ledger.connect()
                #expect(try await connection.query("SELECT id FROM last").only().decode(0, as: String.self) == "B")
                await connection.close()
            }
        }
    }
}
