import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Projections
import Testing

@Suite struct CheckTests {
    private static let schema = """
        -- A table.
        CREATE TABLE seen (
          id     text PRIMARY KEY,
          count  bigint NOT NULL,
          note   text,
          stamp  timestamp DEFAULT now(),
          serial serial
        );
        """
    /// A deterministic fold that gives every column a value. Each test breaks it in one place.
    private static let apply = """
        INSERT INTO seen (id, count, note, stamp, serial)
        SELECT stream_id, count(*), min(type), max(happened_at) AT TIME ZONE 'UTC', 1
          FROM new_events GROUP BY stream_id
        ON CONFLICT (id) DO UPDATE
          SET count = seen.count + excluded.count, stamp = greatest(seen.stamp, excluded.stamp);
        """

    private static func check(_ definition: ProjectionDefinition) async throws -> ProjectionCheck.Outcome {
        try await ProjectionCheck(definition).run(url: try await TestServers.shared.postgresURL())
    }

    private static func expectRefusal(_ outcome: ProjectionCheck.Outcome, _ place: String, _ word: String) {
        let told = outcome.diagnostics.map { "\($0.place): \($0.what) \($0.instead)" }
        #expect(
            outcome.diagnostics.contains { $0.place == place && $0.what.contains(word) }, "\(word) at \(place): \(told)"
        )
        #expect(outcome.diagnostics.allSatisfy { !$0.instead.isEmpty })
    }

    @Test func passesTheBuiltInProjections() async throws {
        for definition in try ProjectionDefinition.all() {
            let outcome = try await Self.check(definition)
            #expect(outcome.diagnostics == [], "\(definition.name)")
            #expect(outcome.folds >= 12)
        }
    }

    @Test func passesDeterministicExpressions() async throws {
        let fine = [
            "string_agg(type, ',' ORDER BY position)", "array_agg(DISTINCT type)::text",
            "string_agg(type, ', ' ORDER BY type)", "jsonb_build_object('a', max(total))::text",
            "(SELECT type FROM new_events AS e WHERE e.stream_id = n.stream_id ORDER BY e.position LIMIT 1)",
            "(SELECT min(type) FROM (SELECT type FROM new_events OFFSET 0) AS e)",
            "to_char(max(happened_at) AT TIME ZONE 'UTC', 'YYYY')", "concat(max(version), '-', max(total))",
            "md5(min(event_id::text))", "'-- now() is no call here'", "max(data::jsonb ->> 'name')",
            "round(avg(total), 2)::text",
        ]
        for expression in fine {
            let apply = Self.apply.replacing("min(type)", with: "/* random() */ \(expression)").replacing(
                "FROM new_events GROUP", with: "FROM new_events AS n GROUP")
            let outcome = try await Self.check(
                .counting(
                    "seen", apply: apply.replacing(", stamp = greatest", with: ", note = NULL, stamp = greatest"),
                    schema: Self.schema))
            let unexpected = outcome.diagnostics.filter { !$0.what.contains("rows") }
            #expect(unexpected == [], "\(expression)")
        }
    }

    /// Each diagnostic names the line, and what to do instead.
    @Test(arguments: [
        ("min(type)", "now()::text", "now()"), ("min(type)", "clock_timestamp()::text", "clock_timestamp()"),
        ("max(happened_at) AT TIME ZONE 'UTC'", "CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP is the clock"),
        ("max(happened_at) AT TIME ZONE 'UTC'", "localtimestamp", "the clock"),
        ("max(happened_at) AT TIME ZONE 'UTC'", "timestamp 'now'", "'now' is the clock"),
        ("max(happened_at) AT TIME ZONE 'UTC'", "'today'::timestamp", "'today' is the clock"),
        ("min(type)", "timeofday()", "timeofday()"),
        ("min(type)", "random()::text", "random()"), ("min(type)", "gen_random_uuid()::text", "gen_random_uuid()"),
        ("min(type)", "nextval('seen_serial_seq')::text", "sequence"), ("min(type)", "current_user", "who runs it"),
        ("min(type)", "pg_backend_pid()::text", "pg_backend_pid()"),
        ("min(type)", "txid_current()::text", "txid_current()"),
        ("min(type)", "current_setting('TimeZone')", "settings"), ("min(type)", "version()", "version()"),
        ("min(type)", "(SELECT max(stream_id) FROM events)", "events is a table of another"),
        ("min(type)", "(SELECT max(name) FROM projections)", "projections is a table of another"),
        ("min(type)", "(SELECT max(relname)::text FROM pg_class)", "pg_class is a table of another"),
        (
            "min(type)", "(SELECT max(status) FROM batch_jobs)",
            "\"batch_jobs\" does not exist, for a projection sees new_events"
        ),
        ("min(type)", "head()::text", "head() is a function"),
        ("min(type)", "(SELECT max(ctid::text) FROM seen)", "ctid"),
        ("min(type)", "array_agg(type)::text", "array_agg() without ORDER BY"),
        ("min(type)", "string_agg(type, ',')", "string_agg() without ORDER BY"),
        ("min(type)", "jsonb_agg(type)::text", "jsonb_agg() without ORDER BY"),
        ("min(type)", "json_object_agg(type, version)::text", "json_object_agg()"),
        ("min(type)", "string_agg(type, ',' ORDER BY happened_at)", "leaves equal"),
        ("min(type)", "sum(total::float8)::text", "sum() of floats"),
        ("min(type)", "avg((data::jsonb ->> 'x')::real)::text", "avg() of floats"),
        ("min(type)", "(SELECT e.type FROM new_events AS e LIMIT 1)", "LIMIT without ORDER BY"),
        (
            "min(type)", "(SELECT min(type) FROM (SELECT type FROM new_events OFFSET 0 + 1) AS e)",
            "LIMIT without ORDER BY"
        ),
        ("min(type)", "(SELECT e.type FROM new_events AS e ORDER BY e.happened_at LIMIT 1)", "LIMIT takes any"),
        (
            "min(type)", "(SELECT max(type) FROM (SELECT DISTINCT ON (stream_id) type FROM new_events) AS e)",
            "DISTINCT ON"
        ),
        (
            "min(type)",
            """
            (SELECT max(type) FROM (SELECT DISTINCT ON (stream_id) type FROM new_events \
            ORDER BY stream_id, happened_at) AS e)
            """,
            "DISTINCT ON"
        ),
        (
            "min(type)",
            "(SELECT max(n)::text FROM (SELECT row_number() OVER (ORDER BY happened_at) AS n FROM new_events) AS e)",
            "row_number()"
        ),
        ("max(happened_at) AT TIME ZONE 'UTC'", "max(happened_at)::timestamp", "time zone"),
        ("max(happened_at) AT TIME ZONE 'UTC'", "date_trunc('day', max(happened_at))", "date_trunc()"),
        ("max(happened_at) AT TIME ZONE 'UTC'", "min(data::jsonb ->> 'at')::timestamp", "read as timestamp"),
        ("min(type)", "max(happened_at)::text", "the text of a timestamptz"),
        ("min(type)", "to_char(max(happened_at), 'HH24')", "time zone"),
    ])
    func refusesExpressionsThatAreNotDeterministic(_ text: String, _ replacement: String, _ word: String) async throws {
        let broken = Self.apply.replacing(text, with: replacement)
        try #require(broken != Self.apply)
        let outcome = try await Self.check(.counting("seen", apply: "-- A line more.\n" + broken, schema: Self.schema))
        Self.expectRefusal(outcome, "apply.sql:3", word)
    }

    /// Defaults count for the columns that apply.sql leaves to them.
    @Test(arguments: [
        (
            ", stamp, serial)", ", serial)", ", max(happened_at) AT TIME ZONE 'UTC', 1", ", 1", "schema.sql:6",
            "now() is the clock"
        ),
        (", stamp, serial)", ", stamp)", "'UTC', 1", "'UTC'", "schema.sql:7", "sequence"),
    ])
    func refusesDefaultsThatAreNotDeterministic(
        _ a: String, _ b: String, _ c: String, _ d: String, _ place: String, _ word: String
    )
        async throws
    {
        let broken = Self.apply.replacing(a, with: b).replacing(c, with: d)
        Self.expectRefusal(try await Self.check(.counting("seen", apply: broken, schema: Self.schema)), place, word)
    }

    @Test(arguments: [
        ("CREATE TABLE seen", "CREATE UNLOGGED TABLE seen", "schema.sql:2", "a crash empties it"),
        ("id     text PRIMARY KEY", "id     text UNIQUE", "schema.sql:2", "no primary key"),
        (
            "CREATE TABLE seen", "CREATE TABLE other (a int PRIMARY KEY); CREATE TABLE seen", "schema.sql:2",
            "not among the \"tables\""
        ),
        (");", "); CREATE SEQUENCE mine;", "schema.sql:8", "the sequence mine"),
        (");", "); CREATE VIEW mine AS SELECT 1;", "schema.sql:8", "not a table"),
        (");", "); INSERT INTO seen VALUES ('a', 1);", "schema.sql:2", "puts rows into seen"),
        (");", "); CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1;", "schema.sql:8", "the function mine"),
        ("note   text", "note   text CONSTRAINT late CHECK (now() > '2000-01-01')", "schema.sql:5", "the clock"),
        ("note   text", "note   text REFERENCES seen", "schema.sql:2", "can be folded apart"),
        ("note   text", "note   text CONSTRAINT up REFERENCES seen", "schema.sql:5", "refers to rows of seen"),
        ("note   text", "note   text CONSTRAINT up REFERENCES seen DEFERRABLE", "schema.sql:5", "the transaction"),
        ("note   text", "note   text CONSTRAINT up REFERENCES seen ON DELETE SET DEFAULT", "schema.sql:5", "default"),
        ("note   text", "note   text REFERENCES read_models (name)", "schema.sql:5", "a table of another"),
    ])
    func refusesSchemasThatTheCheckCannotSeeThrough(
        _ text: String, _ replacement: String, _ place: String, _ word: String
    ) async throws {
        // The last occurrence, because the table ends there.
        let range = try #require(Self.schema.range(of: text, options: .backwards))
        let broken = Self.schema.replacingCharacters(in: range, with: replacement)
        Self.expectRefusal(
            try await Self.check(.counting("seen", apply: Self.apply, schema: broken)), place, word)
    }

    @Test func reportsErrorsOfPostgresWithTheirLine() async throws {
        let unknown = Self.apply.replacing("count(*)", with: "count(nothing)")
        Self.expectRefusal(
            try await Self.check(.counting("seen", apply: unknown, schema: Self.schema)), "apply.sql:2", "nothing")
        Self.expectRefusal(
            try await Self.check(.counting("seen", apply: "SELECT 1;\nDO $$BEGIN END$$;", schema: Self.schema)),
            "apply.sql", "cannot be looked into")
        Self.expectRefusal(
            try await Self.check(.counting("seen", apply: Self.apply, schema: "CREATE TABLE")), "schema.sql",
            "syntax error")
    }

    /// Parse trees do not show that a window's count replaces the last one's, that the first row
    /// wins, or that a row depends on the events of other streams.
    @Test(arguments: [
        ("count = seen.count + excluded.count", "count = excluded.count", "windows of 1 event give other rows"),
        (
            """
            SELECT stream_id, count(*), min(type), max(happened_at) AT TIME ZONE 'UTC', 1
              FROM new_events GROUP BY stream_id
            """,
            "SELECT stream_id, 1, type, happened_at AT TIME ZONE 'UTC', 1 FROM new_events WHERE true",
            "read in another order"
        ),
        ("count(*), min(type)", "(SELECT count(*) FROM new_events), min(type)", "windows of"),
    ])
    func findsByFoldingWhatParsingDoesNotShow(_ text: String, _ replacement: String, _ word: String) async throws {
        var broken = Self.apply.replacing(text, with: replacement)
        try #require(broken != Self.apply)
        if word.contains("order") {
            broken = broken.replacing(/DO UPDATE.*/.dotMatchesNewlines(), with: "DO NOTHING;")
        }
        let outcome = try await Self.check(.counting("seen", apply: broken, schema: Self.schema))
        Self.expectRefusal(outcome, "a random history", word)
    }

    /// A row that counts over all streams does not depend on one stream, so folding the streams in
    /// parts gives other rows.
    @Test func refusesAFalseKey() async throws {
        let apply = """
            INSERT INTO seen (id, count, note, stamp, serial)
            SELECT 'all', max(total), min(type), null, (SELECT count(*) FROM seen) FROM new_events HAVING count(*) > 0
            ON CONFLICT (id) DO UPDATE SET serial = seen.serial + 1;
            """
        let outcome = try await Self.check(.counting("seen", apply: apply, schema: Self.schema))
        #expect(!outcome.diagnostics.isEmpty)
        #expect(outcome.diagnostics.contains { $0.what.contains("in 2 parts") }, "\(outcome.diagnostics)")
    }

    /// The folder that `projections new` writes passes its case and the check.
    @Test func passesANewProjection() async throws {
        let directory = TestServers.directory("new")
        let files = try NewProjection(.init("job_times")!).write(in: directory.path)
        #expect(
            files.map { $0.dropFirst(directory.path.count) }
                == ["projection.json", "schema.sql", "apply.sql", "README.md", "cases/first.json"].map {
                    "/job_times/\($0)"
                })
        let definition = try #require(try ProjectionDefinition.all(in: directory.path).first { $0.name == "job_times" })
        let url = try await TestServers.shared.postgresURL()
        let cases = try await Cases([definition]).run(url: url)
        #expect(cases.count == 1 && cases[0].problems == [])
        #expect(try await ProjectionCheck(definition).run(url: url).diagnostics == [])
        #expect(throws: NewDefinition.Taken.self) { try NewProjection(.init("job_times")!).write(in: directory.path) }
    }
}
