import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// The swap of a rebuild: what is carried over, what prevents it, what is kept, and how it is
/// undone.
@Suite struct ReplacementTests {
    private static let apply = "INSERT INTO seen SELECT stream_id, 1 FROM new_events ON CONFLICT DO NOTHING"

    /// A rebuild carries over what users added to the table: indexes, grants of columns, policies,
    /// triggers, views of views.
    @Test func carriesOverWhatUsersAdded() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            for job in ["a", "b"] { try await ledger.queue(job, total: 5) }
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            let owner = try await ledger.connect()
            try await owner.execute(
                script: """
                    CREATE INDEX by_length ON batch_jobs (length(name)) WHERE total > 3;
                    GRANT UPDATE (name) ON batch_jobs TO "\(ledger.name)_reader";
                    ALTER TABLE batch_jobs ENABLE ROW LEVEL SECURITY;
                    CREATE POLICY only_a ON batch_jobs FOR SELECT TO "\(ledger.name)_reader" USING (id = 'a');
                    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
                    CREATE TRIGGER noted BEFORE UPDATE ON batch_jobs FOR EACH ROW EXECUTE FUNCTION note();
                    CREATE VIEW small WITH (security_barrier) AS SELECT id FROM batch_jobs;
                    CREATE VIEW smaller AS SELECT count(*) FROM small
                    """)
            func additions() async throws -> [String] { try await owner.query(Self.additions).only().decode(0) }
            let (before, table) = (
                try await additions(), try await owner.query("SELECT 'batch_jobs'::regclass::oid::bigint").only()
            )
            #expect(before.count == 10)
            _ = try await ledger.rebuild(definition)
            #expect(try await additions() == before)
            let now = try await owner.query("SELECT 'batch_jobs'::regclass::oid::bigint").only()
            #expect(try now.decode(0, as: Int64.self) != table.decode(0, as: Int64.self), "it is another table")
            try await ledger.queue("c")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            #expect(try await owner.query("SELECT * FROM smaller").only().decode(0, as: Int64.self) == 3)
            await owner.close()
        }
    }

    private static let additions = """
        SELECT ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index
                      WHERE indrelid = 'batch_jobs'::regclass ORDER BY 1)
            || ARRAY(SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'batch_jobs'::regclass)
            || ARRAY(SELECT polname || pg_get_expr(polqual, polrelid) || polroles::text FROM pg_policy
                      WHERE polrelid = 'batch_jobs'::regclass)
            || ARRAY(SELECT attacl::text FROM pg_attribute
                      WHERE attrelid = 'batch_jobs'::regclass AND attacl IS NOT NULL)
            || ARRAY(SELECT relacl::text || relrowsecurity FROM pg_class WHERE oid = 'batch_jobs'::regclass)
            || ARRAY(SELECT reloptions::text FROM pg_class WHERE oid = 'small'::regclass)
        """

    /// A rebuild names what would still refer to the old table, before it begins.
    @Test func namesFirstWhatCannotBeCarriedOver() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            let owner = try await ledger.connect()
            try await owner.execute(
                script: """
                    CREATE TABLE notes (job varchar(255) REFERENCES batch_jobs (id));
                    CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM batch_jobs
                    """)
            let error = await #expect(throws: Rebuild.Obstructed.self) { try await ledger.rebuild(definition) }
            #expect(error?.obstacles.count == 2)
            #expect(
                error?.description.contains("notes_job_fkey") == true && error?.description.contains("counted") == true)
            try await owner.execute(script: "DROP TABLE notes; DROP MATERIALIZED VIEW counted")
            #expect(try await ledger.rebuild(definition).rows == 1)
            await owner.close()
        }
    }

    /// An undo brings the old tables back at their position, and the live projection goes on from
    /// there. A second undo brings the new ones back.
    @Test func aRebuildIsUndone() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.queue("a", total: 9)
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            let owner = try await ledger.connect()
            await #expect(throws: ReplacedTables.None.self) {
                try await ReplacedTables.undo("batch_jobs", ledger: ledger.name, on: owner)
            }
            // To tell the tables apart.
            try await owner.execute(script: "UPDATE batch_jobs SET name = 'old'")
            try await ledger.progress("a", 3)
            let receipt = try await ledger.rebuild(definition)
            #expect(receipt.position == 2 && receipt.liveDigest == nil)
            let kept = "SELECT name, completed FROM batch_jobs"
            #expect(try await owner.query(kept).only().decode(0, as: String.self) == "test")

            let undone = try await ReplacedTables.undo("batch_jobs", ledger: ledger.name, on: owner)
            #expect(undone.position == 1)
            #expect(try await owner.query(kept).only().decode(0, as: String.self) == "old")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            #expect(try await owner.query(kept).only().decode(1, as: Int.self) == 3)
            #expect(try await ledger.verify(definition).differences.first?.columns == ["name"])

            #expect(try await ReplacedTables.undo("batch_jobs", ledger: ledger.name, on: owner).position == 2)
            #expect(try await ledger.verify(definition).isEqual)
            #expect(try await ReplacedTables.discard("batch_jobs", ledger: ledger.name, on: owner))
            #expect(try await !ReplacedTables.discard("batch_jobs", ledger: ledger.name, on: owner))
            #expect(try await ledger.schemasBeside().isEmpty)
            let kinds = try await RecordedReceipt.last(10, of: "batch_jobs", on: owner).map(\.kind)
            #expect(kinds == ["verify", "undo", "verify", "undo", "rebuild"])
            await owner.close()
        }
    }

    /// A rebuild drops the tables that the last one kept. A definition with fewer tables takes the
    /// others out of use.
    @Test func tablesOfAnotherDefinitionAreReplaced() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            func definition(_ tables: [String]) throws -> ProjectionDefinition {
                let list = tables.map { "\"\($0)\"" }.joined(separator: ",")
                return try ProjectionDefinition(
                    folder: "seen",
                    files: [
                        "projection.json":
                            #"{"name":"seen","consumes":["queued"],"key":"stream_id","tables":[\#(list)]}"#,
                        "schema.sql": tables.map { "CREATE TABLE \($0) (id text PRIMARY KEY);" }.joined(),
                        "apply.sql": tables.map { "INSERT INTO \($0) SELECT stream_id FROM new_events;" }.joined(),
                    ])
            }
            let (one, two) = (try definition(["seen", "seen_too"]), try definition(["seen"]))
            let owner = try await ledger.connect()
            func tables() async throws -> Int64 {
                try await owner.query(
                    """
                    SELECT count(*) FROM pg_class
                     WHERE relname LIKE 'seen%' AND relkind = 'r' AND relnamespace = $1::regnamespace
                    """, ledger.name.text
                ).only().decode(0)
            }
            _ = try await ledger.rebuild(one)
            #expect(try await tables() == 2)
            _ = try await ledger.rebuild(two)
            #expect(try await tables() == 1)
            #expect(try await ReplacedTables.undo("seen", ledger: ledger.name, on: owner).definition == one.hash)
            #expect(try await tables() == 2)
            _ = try await ledger.rebuild(two)
            _ = try await ledger.rebuild(two)
            #expect(try await tables() == 1)
            #expect(try await ledger.schemasBeside().count == 1, "one is kept, not three")
            await owner.close()
        }
    }

    /// While a long query uses the table, the swap waits, and other readers do not.
    @Test(.timeLimit(.minutes(10))) func aLongQueryDelaysTheSwapAndNotTheReaders() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("batch_jobs") }
            let (long, reader, connection) = (
                try await ledger.connect(), try await ledger.connect(), try await ledger.connect()
            )
            try await long.execute(script: "BEGIN; SELECT count(*) FROM batch_jobs")
            let (waits, waiting) = AsyncStream<Void>.makeStream()
            let rebuild = Rebuild(definition, ledger: ledger.name) { phase in
                if phase == .waitingForTables { waiting.yield() }
            }
            let done = Task { try await rebuild.run(on: connection) }
            var times = 0
            for await _ in waits {
                let start = ContinuousClock.now
                #expect(try await reader.query("SELECT count(*) FROM batch_jobs").only().decode(0, as: Int64.self) == 1)
                #expect(start.duration(to: .now) < .seconds(45))
                times += 1
                if times == 3 { break }
            }
            try await ledger.queue("b")
            try await long.execute(script: "COMMIT")
            let receipt = try await done.value
            #expect(receipt.liveDigest == receipt.digest)
            #expect(
                try await reader.query("SELECT count(*) FROM batch_jobs").only().decode(0, as: Int64.self) == 2,
                "it caught up")
            for connection in [long, reader, connection] { await connection.close() }
        }
    }

    /// Nobody can change receipts or skipped events.
    @Test func receiptsAreAppendOnly() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            try await ledger.queue("a")
            let receipt = try await ledger.rebuild(definition, window: 7)
            let owner = try await ledger.connect()
            for statement in [
                "UPDATE receipts SET digest = null", "DELETE FROM receipts", "TRUNCATE receipts",
                "UPDATE skipped_events SET reason = 'x'", "DELETE FROM skipped_events", "TRUNCATE skipped_events",
                "SET session_replication_role = replica; DELETE FROM receipts",
            ] {
                let error = await #expect(throws: PostgresError.self, "\(statement)") {
                    try await owner.execute(script: statement)
                }
                #expect(error?.sqlState?.code == "23001", "\(statement): \(String(describing: error))")
            }
            let last = try #require(try await RecordedReceipt.last(1, of: nil, on: owner).first)
            #expect(
                last.digest == receipt.digest && last.position == 1 && last.rows == 1 && last.window == 7
                    && last.events == 1)
            #expect(last.definition == definition.hash && last.madeBy.contains("@") && last.blockedMilliseconds != nil)
            // A receipt without the values of its proof, or of an unknown kind, is refused.
            for values in ["'verify', 'p', 'd', 1, 'x'", "'rebuild', 'p', 'd', 1, 'x'", "'other', 'p', 'd', 1, 'x'"] {
                let error = await #expect(throws: PostgresError.self) {
                    try await owner.execute(
                        script:
                            "INSERT INTO receipts (kind, projection, definition, position, made_by) VALUES (\(values))")
                }
                #expect(error?.constraint?.hasPrefix("receipts_") == true)
            }
            await owner.close()
        }
    }
}
