import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import Projections

/// A backlog is folded by two sessions, and the rows are those that one session makes.
@Suite struct PipelinedFoldTests {
    /// Counts a job's events.
    /// - Parameters:
    ///   - condition: an expression of `new_events` that `prepare.sql` evaluates for each event.
    ///   - others: further relations that `prepare.sql` reads.
    ///   - applied: an expression of `prepared` that `apply.sql` evaluates for each job.
    private static func counting(
        where condition: String = "true", from others: String = "", if applied: String = "true"
    ) throws -> ProjectionDefinition {
        try ProjectionDefinition(
            folder: "counts",
            files: [
                "projection.json":
                    #"{"name":"counts","consumes":["queued","progress","finished"],"key":"log","tables":["counts"]}"#,
                "schema.sql": "CREATE TABLE counts (id text PRIMARY KEY, count bigint NOT NULL);",
                "prepare.sql": """
                SELECT stream_id AS id, count(*) AS count
                  FROM new_events\(others)
                 WHERE \(condition)
                 GROUP BY stream_id  -- the end
                """,
                "apply.sql": """
                -- Adds the counts.
                WITH checked AS (SELECT id, count FROM prepared WHERE \(applied))
                INSERT INTO counts SELECT id, count FROM checked
                ON CONFLICT (id) DO UPDATE SET count = counts.count + excluded.count
                """,
            ])
    }

    private static func installed(_ definition: ProjectionDefinition, _ ledger: TestLedger) async throws -> Fold {
        let connection = try await ledger.connect()
        let live = LiveProjection(definition: definition, ledger: ledger.name)
        try await live.install(on: connection)
        await connection.close()
        return live.fold
    }

    /// Folds the whole log in windows of some events, and returns the windows' ends.
    private static func run(
        _ fold: Fold, _ ledger: TestLedger, window: Int64, upTo head: Position? = nil, after start: Position = 0,
        advanced: (Position) -> Void = { _ in }
    ) async throws -> (PipelinedFold.Outcome, [Position]) {
        let connection = try await ledger.connect()
        var size = AdaptiveWindow(largest: window)
        var ends: [Position] = []
        let pipeline = try #require(PipelinedFold(fold))
        let end: Position
        if let head { end = head } else { end = try await ledger.store.head() }
        let outcome = try await pipeline.run(after: start, upTo: end, &size, beside: connection) {
            ends.append($0)
            advanced($0)
        }
        await connection.close()
        return (outcome, ends)
    }

    @Test(arguments: ["batch_job_runs", "counts"], [1, 7, 100, 5000])
    func theRowsAreTheSame(name: String, window: Int64) async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.appendHistory(jobs: 20, events: window == 1 ? 100 : 600, seed: UInt64(window))
            let definition = try name == "counts" ? Self.counting() : .builtIn(name)
            let fold = try await Self.installed(definition, ledger)
            let head = try await ledger.store.head()
            let (outcome, ends) = try await Self.run(fold, ledger, window: window)
            #expect(outcome == .finished && ends.last == head)
            #expect(Int64(ends.count) == (head + window - 1) / window && ends == ends.sorted())
            let finding = try await ledger.verify(definition)
            #expect(finding.isEqual && finding.position == head, "\(finding)")
        }
    }

    /// The projector uses two more sessions while much is to be folded, and only then.
    @Test func theProjectorTakesThisWay() async throws {
        try await TestLedger.with { ledger async throws in
            for number in 1...60 { try await ledger.queue("job \(number)") }
            let definition = try Self.counting(where: "pg_sleep(0.02) IS NOT NULL")
            let owner = try await ledger.connect()
            /// How many sessions of the projector have made the table of prepared rows.
            func preparing() async throws -> Int64 {
                try await owner.query(
                    """
                    SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
                     WHERE application_name = $1 AND locktype = 'relation' AND mode = 'AccessExclusiveLock'
                    """, "jobledger projector counts \(ledger.name)"
                ).only().decode(0)
            }
            func sessions() async throws -> Int64 {
                try await owner.query(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1",
                    "jobledger projector counts \(ledger.name)"
                ).only().decode(0)
            }
            try await ledger.projecting([definition], window: 5) {
                _ = try await eventually("two sessions are at work") { try await preparing() == 2 ? true : nil }
                try await ledger.caughtUp("counts")
                _ = try await eventually("one session is left") { try await sessions() == 1 ? true : nil }
                try await ledger.queue("afterwards")
                try await ledger.caughtUp("counts")
                #expect(try await sessions() == 1)
            }
            #expect(try await ledger.verify(definition).isEqual)
            await owner.close()
        }
    }

    /// An event that cannot be folded stops the projection at its place, whichever part it breaks.
    @Test(arguments: [true, false])
    func anEventThatCannotBeFoldedStopsIt(inPreparation: Bool) async throws {
        try await TestLedger.with { ledger async throws in
            for number in 1...60 { try await ledger.queue("job \(number)") }
            let poison = "1 / (id <> 'job 41')::integer = 1"
            let definition =
                try inPreparation
                ? Self.counting(where: poison.replacing("id <>", with: "stream_id <>")) : Self.counting(if: poison)
            try await ledger.projecting([definition], window: 7) {
                let state = try await eventually("it stops") {
                    if let state = try await ledger.state("counts"), state.stopped != nil { state } else { nil }
                }
                #expect(state.stopped?.position == 41 && state.position == 40)
                let owner = try await ledger.connect()
                _ = try await SkippedEvents.skip(41, of: "counts", because: "ticket 7", by: "ada", on: owner)
                await owner.close()
                try await ledger.caughtUp("counts")
            }
            let finding = try await ledger.verify(definition)
            #expect(finding.isEqual && finding.position == 60)
        }
    }

    /// A window with an event that was skipped is left to the usual way.
    @Test func aSkippedEventIsNotFolded() async throws {
        try await TestLedger.with { ledger async throws in
            for number in 1...30 { try await ledger.queue("job \(number)") }
            let definition = try Self.counting()
            let fold = try await Self.installed(definition, ledger)
            let owner = try await ledger.connect()
            try await owner.query(
                """
                INSERT INTO skipped_events (projection, definition, position, event_id, error, reason, skipped_by)
                SELECT 'counts', $1, position, event_id, 'e', 'r', 'ada' FROM events WHERE position = 12
                """, definition.hash)
            let (outcome, ends) = try await Self.run(fold, ledger, window: 10)
            #expect(outcome == .overtaken && ends == [10])
            try await ledger.projecting([definition], window: 10) { try await ledger.caughtUp("counts") }
            #expect(try await owner.query("SELECT FROM counts WHERE id = 'job 12'").isEmpty)
            #expect(try await owner.query("SELECT FROM counts").count == 29)
            await owner.close()
        }
    }

    /// Whoever finds the position moved writes nothing.
    @Test func anotherProjectorIsNotDisturbed() async throws {
        try await TestLedger.with { ledger async throws in
            for number in 1...30 { try await ledger.queue("job \(number)") }
            let definition = try Self.counting()
            let fold = try await Self.installed(definition, ledger)
            #expect(try await Self.run(fold, ledger, window: 10, upTo: 20) == (.finished, [10, 20]))
            #expect(try await Self.run(fold, ledger, window: 10) == (.overtaken, []))
            #expect(try await Self.run(fold, ledger, window: 10, after: 20) == (.finished, [30]))
            #expect(try await ledger.verify(definition).isEqual)
        }
    }

    /// A query that reads more than events would see it too early. Its projection is folded as
    /// usual.
    @Test(arguments: [", counts", ", (SELECT count(*) FROM counts) AS c", ", mine()"])
    func aQueryOfTablesDoesNotRunEarly(others: String) async throws {
        try await TestLedger.with { ledger async throws in
            let owner = try await ledger.connect()
            try await owner.execute(
                script: "CREATE FUNCTION mine() RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'")
            for number in 1...30 { try await ledger.queue("job \(number)") }
            let definition = try Self.counting(from: others)
            let fold = try await Self.installed(definition, ledger)
            #expect(try await Self.run(fold, ledger, window: 10) == (.impossible, []))
            try await ledger.projecting([definition], window: 10) { try await ledger.caughtUp("counts") }
            #expect(try await ledger.verify(definition).isEqual)
            await owner.close()
        }
    }

    /// Sessions that end at any moment lose no event and fold none twice.
    @Test func sessionsThatEnd() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.appendHistory(jobs: 20, events: 900, seed: 5)
            let definition = try ProjectionDefinition.builtIn("batch_job_runs")
            let owner = try await ledger.connect()
            let ended = try await ledger.projecting([definition], window: 4) {
                var ended: Int64 = 0
                for _ in 1...10 {
                    ended += try await owner.query(
                        """
                        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                         WHERE application_name = $1 AND pid % 2 = $2
                        """, "jobledger projector batch_job_runs \(ledger.name)", Int32.random(in: 0...1)
                    ).only().decode(0, as: Int64.self)
                    try await owner.query("SELECT pg_sleep(0.05)")
                }
                try await ledger.caughtUp("batch_job_runs")
                return ended
            }
            #expect(ended > 0)
            #expect(try await ledger.verify(definition).isEqual)
            await owner.close()
        }
    }

    /// A database in which nobody may make temporary tables.
    @Test func withoutTemporaryTablesItFoldsAsUsual() async throws {
        try await TestDatabase.with("ENCODING 'UTF8'") { url in
            try await TestLedger.with(url: url) { ledger in
                try await ledger.appendHistory(jobs: 20, events: 300, seed: 6)
                let owner = try await ledger.connect()
                let database: String = try await owner.query("SELECT current_database()::text").only().decode(0)
                try await owner.execute(script: "REVOKE TEMPORARY ON DATABASE \"\(database)\" FROM PUBLIC")
                let eve = try await ledger.session(as: "projector")
                let definition = try ProjectionDefinition.builtIn("batch_job_runs")
                let fold = try await Self.installed(definition, ledger)
                let error = await #expect(throws: PostgresError.self) {
                    try await eve.transaction {
                        try await fold.prepare(fold.definition.preparation!, after: 0, upTo: 9, on: $0)
                    }
                }
                #expect(error?.isOfFold == true, "the projector goes on window by window")
                await eve.close()
                await owner.close()
            }
        }
    }

    @Test(arguments: [
        ("SELECT 1;", "WITH a AS (SELECT 1) SELECT 2", "prepare.sql:1: this file must be one query"),
        ("SELECT 1\n; SELECT 2", "WITH a AS (SELECT 1) SELECT 2", "prepare.sql:2: this file must be one query"),
        ("DELETE FROM x", "WITH a AS (SELECT 1) SELECT 2", "prepare.sql: this file must be one query"),
        ("", "WITH a AS (SELECT 1) SELECT 2", "prepare.sql: this file must be one query"),
        ("SELECT 1", "INSERT INTO x SELECT 1", "apply.sql: beside a prepare.sql this file must be one statement"),
        ("SELECT 1", "WITH RECURSIVE a AS (SELECT 1) SELECT 2", "apply.sql: beside a prepare.sql"),
    ])
    func otherFilesAreRefused(prepare: String, apply: String, what: String) throws {
        let error = #expect(throws: ProjectionDefinition.FormatError.self) {
            try ProjectionDefinition(
                folder: "x",
                files: [
                    "projection.json": #"{"name":"x","consumes":["queued"],"key":"log","tables":["x"]}"#,
                    "schema.sql": "CREATE TABLE x (id integer PRIMARY KEY);", "prepare.sql": prepare,
                    "apply.sql": apply,
                ])
        }
        #expect(error?.description.contains("projection x: \(what)") == true, "\(error!)")
    }

    @Test func noTableIsNamedAsTheRows() throws {
        let error = #expect(throws: ProjectionDefinition.FormatError.self) {
            try ProjectionDefinition(
                folder: "x",
                files: [
                    "projection.json": #"{"name":"x","consumes":["queued"],"key":"log","tables":["prepared"]}"#,
                    "schema.sql": "CREATE TABLE prepared (id integer PRIMARY KEY);", "prepare.sql": "SELECT 1",
                    "apply.sql": "WITH a AS (SELECT 1) SELECT 2",
                ])
        }
        #expect(error?.description.contains("no table can be named prepared") == true, "\(error!)")
    }

    /// The check names the line in the file that it stands in.
    @Test func theCheckNamesTheFile() async throws {
        let url = try await TestServers.shared.postgresURL()
        for (definition, place) in [
            (try Self.counting(where: "stream_id <> now()::text"), "prepare.sql:3"),
            (try Self.counting(if: "id <> now()::text"), "apply.sql:2"),
        ] {
            let outcome = try await ProjectionCheck(definition).run(url: url)
            #expect(outcome.diagnostics.map(\.place).contains(place), "\(outcome.diagnostics)")
        }
    }
}
