import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Projections
import Testing

/// Projections of other categories than job: folding, checks, and the past of their rows. Streams
/// of two categories have the same ids.
@Suite struct StreamReadModelTests {
    /// One row a user.
    private static func people(key: String = "stream_id", rows: String = #"{"user":"people"}"#) throws
        -> ProjectionDefinition
    {
        try ProjectionDefinition(folder: "people", files: files(key: key, rows: rows))
    }

    private static func files(key: String, rows: String) -> [ExactText: String] {
        [
            "projection.json": """
            {"name": "people", "consumes": {"user": ["registered", "updated", "removed"]}, "key": "\(key)",
             "tables": ["people", "people_numbers"], "rows": \(rows)}
            """,
            "schema.sql": """
            CREATE TABLE people (id text PRIMARY KEY, email text, events integer NOT NULL,
                                 last_at timestamp NOT NULL);
            CREATE TABLE people_numbers (id text PRIMARY KEY, category text NOT NULL, stream_id text NOT NULL);
            """,
            "apply.sql": """
            INSERT INTO people AS p (id, email, events, last_at)
            SELECT stream_id, (array_agg(data::jsonb ->> 'email' ORDER BY position DESC)
                                 FILTER (WHERE data::jsonb ? 'email'))[1],
                   count(*), max(happened_at AT TIME ZONE 'UTC')
              FROM new_events GROUP BY stream_id
            ON CONFLICT (id) DO UPDATE
               SET email = coalesce(excluded.email, p.email), events = p.events + excluded.events,
                   last_at = greatest(p.last_at, excluded.last_at);
            INSERT INTO people_numbers SELECT stream_id, category, 'number ' || stream_id FROM new_events
                ON CONFLICT DO NOTHING;
            """,
            "cases/first.json": """
            {"about": "An update keeps what it does not name. A job with the same id is another stream.",
             "events": [
               {"stream": "a", "type": "registered", "data": {"email": "a@x"},
                "occurred_at": "2026-01-01T00:00:00Z"},
               {"job": "a", "type": "queued", "data": {"name": "n"}},
               {"category": "user", "stream": "a", "type": "updated", "data": {"username": "u"},
                "occurred_at": "2026-01-02T00:00:00Z"}],
             "expect": {"people": [{"id": "a", "email": "a@x", "events": 2, "last_at": "2026-01-02T00:00:00"}],
                        "people_numbers": [{"id": "a", "category": "user", "stream_id": "number a"}]}}
            """,
        ]
    }

    /// Users and jobs of the same ids, with their events mixed.
    private static func fill(_ ledger: TestLedger) async throws {
        let owner = try await ledger.connect()
        try await TestCategories.install(on: owner)
        for (category, stream, type, data) in [
            ("user", "a", "registered", #"{"email":"a@x","username":null}"#),
            ("job", "a", "queued", #"{"name":"job a"}"#),
            ("user", "b", "registered", #"{"email":"b@x"}"#), ("user", "a", "updated", #"{"email":"A@x"}"#),
            ("job", "a", "failed", #"{"error":"e"}"#), ("user", "a", "updated", #"{"username":"ada"}"#),
            ("user", "b", "removed", "{}"), ("user", "a", "removed", "{}"),
        ] {
            let answer = try await TestCategories.append(category, stream, type, data, on: owner)
            #expect(Int64(answer) != nil, "\(category) \(stream) \(type): \(answer)")
        }
        await owner.close()
    }

    private static let user = Category("user")!

    /// Cases and checks know the categories that ship.
    @Test func casesAndChecks() async throws {
        let url = try await TestServers.shared.postgresURL()
        let definition = try Self.people()
        #expect(try await Cases([definition]).run(url: url).map(\.problems) == [[]])
        let outcome = try await ProjectionCheck(definition).run(url: url)
        #expect(outcome.diagnostics == [] && outcome.folds > 5)

        func problems(_ text: String, _ replacement: String) async throws -> String {
            let files = Self.files(key: "stream_id", rows: #"{"user":"people"}"#)
            let changed = files.mapValues { $0.replacing(text, with: replacement) }
            try #require(changed != files)
            let definition = try ProjectionDefinition(folder: "people", files: changed)
            let found =
                try await Cases([definition]).run(url: url).flatMap(\.problems)
                + ProjectionCheck(definition).run(url: url).diagnostics.map { "\($0)" }
            return found.joined(separator: "\n")
        }
        // A category or type that does not exist would never be folded.
        #expect(try await problems(#""user""#, #""usr""#).contains("there is no category usr"))
        #expect(try await problems(#""removed"]}"#, #""deleted"]}"#).contains("the category user has no type deleted"))
        #expect(
            try await problems(#""stream": "a", "type""#, #""category": "user", "job": "a", "type""#)
                .contains("give \"job\", or \"category\" and \"stream\""))
        #expect(try await problems(#"{"email": "a@x"}"#, "{}").contains("JL006"))
        // The row of a stream must be found.
        #expect(
            try await problems("(id text PRIMARY KEY, email text", "(id text, n serial PRIMARY KEY, email text")
                .contains("the key of people is not one column of text"))
    }

    @Test func foldsOnlyWhatItConsumes() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger)
            let definition = try Self.people()
            try await ledger.projecting([definition], window: 3) { try await ledger.caughtUp("people") }
            let owner = try await ledger.connect()
            let rows = try await owner.query("SELECT id || ' ' || email || ' ' || events FROM people ORDER BY id").map {
                try $0.decode(0, as: String.self)
            }
            #expect(rows == ["a A@x 4", "b b@x 2"])
            #expect(try await ledger.verify(definition).isEqual)
            // Jobs are folded as before.
            let jobs = try ProjectionDefinition.builtIn("batch_jobs")
            #expect(try await ledger.rebuild(jobs).rows == 1)
            for (window, workers) in [(1, 1), (2, 2), (100, 3)] {
                let receipt = try await Rebuild(definition, ledger: ledger.name, window: window, workers: workers)
                    .run(on: owner)
                #expect(receipt.digest == receipt.liveDigest && receipt.rows == 4)
            }
            await owner.close()
        }
    }

    /// A projection of every event gets those of categories that are installed later.
    @Test func everything() async throws {
        let definition = try ProjectionDefinition(
            folder: "kinds",
            files: [
                "projection.json": #"{"name":"kinds","consumes":"*","key":"log","tables":["kinds"]}"#,
                "schema.sql": "CREATE TABLE kinds (kind text PRIMARY KEY, count bigint NOT NULL)",
                "apply.sql": """
                INSERT INTO kinds AS k SELECT category || '/' || type, count(*) FROM new_events GROUP BY 1
                ON CONFLICT (kind) DO UPDATE SET count = k.count + excluded.count
                """,
            ])
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("first")
            try await ledger.projecting([definition]) {
                try await ledger.caughtUp("kinds")
                try await Self.fill(ledger)
                try await ledger.caughtUp("kinds")
            }
            let owner = try await ledger.connect()
            let rows = try await owner.query(#"SELECT kind || ' ' || count FROM kinds ORDER BY kind COLLATE "C""#).map {
                try $0.decode(0, as: String.self)
            }
            #expect(
                rows == ["job/failed 1", "job/queued 2", "user/registered 2", "user/removed 2", "user/updated 2"])
            await owner.close()
        }
    }

    @Test func rowsNowAndAsTheyWere() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger)
            let definition = try Self.people()
            let model = try StreamReadModel(definition, of: Self.user, store: ledger.store)
            #expect(try await model.present("a").row == nil, "nothing is projected yet")
            try await ledger.projecting([definition]) {
                try await ledger.caughtUp("people")
                #expect(try await model.row("a")?.contains(#""email":"A@x","events":4"#) == true)
                #expect(try await model.row("c") == nil)
            }
            let expected: [(Position, String?)] = [
                (0, nil), (1, #""email":"a@x","events":1"#), (3, #""email":"a@x","events":1"#),
                (4, #""email":"A@x","events":2"#), (6, #""email":"A@x","events":3"#), (8, #""email":"A@x","events":4"#),
            ]
            for (position, text) in expected {
                let row = try await model.row("a", at: position)
                #expect(text.map { row?.contains($0) == true } ?? (row == nil), "at \(position): \(row ?? "nil")")
                #expect(row?.contains("+00:00") ?? true, "times are shown with their zone: \(row ?? "")")
            }
            // The row of a job with the same id is another one.
            let jobs = try StreamReadModel(.builtIn("batch_jobs"), of: .job, store: ledger.store)
            #expect(try await jobs.row("a", at: 8)?.contains(#""name":"job a""#) == true)
        }
    }

    /// Where the key of a row is no stream's id, another table of the projection leads to it.
    @Test func rowsByAnotherTable() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger)
            let definition = try Self.people(key: "log", rows: #"{"user":{"table":"people","by":"people_numbers"}}"#)
            try await ledger.projecting([definition]) { try await ledger.caughtUp("people") }
            let model = try StreamReadModel(definition, of: Self.user, store: ledger.store)
            #expect(try await model.present("number b").row?.contains(#""id":"b""#) == true)
            #expect(try await model.present("b").row == nil)
            await #expect(throws: DependsOnTheLog.self) { try await model.row("number b", at: 3) }
            let connection = try await ledger.connect()
            await #expect(throws: DependsOnTheLog.self) {
                _ = try await Blame(definition, of: Self.user, ledger: ledger.name).run("b", at: 3, on: connection)
            }
            await #expect(throws: DependsOnTheLog.self) {
                try await Changes(definition, of: Self.user, ledger: ledger.name)
                    .run(from: 0, to: 3, on: connection) { _ in }
            }
            await #expect(throws: NoRows.self) {
                _ = try await Blame(.builtIn("audit_log"), ledger: ledger.name).run("a", at: 3, on: connection)
            }
            await connection.close()
        }
    }

    @Test func blamesAndCompares() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger)
            let definition = try Self.people()
            let connection = try await ledger.connect()
            let columns = try #require(
                try await Blame(definition, of: Self.user, ledger: ledger.name).run("a", at: 7, on: connection))
            #expect(columns.map(\.name) == ["id", "email", "events", "last_at"])
            #expect(columns.map { $0.event?.position } == [1, 4, 6, 6])
            #expect(columns[1].event?.type == "updated")
            await connection.close()

            let other = try await ledger.connect()
            var told: [Changes.Change] = []
            let changes = Changes(definition, of: Self.user, ledger: ledger.name)
            let count = try await changes.run(from: 3, to: 7, on: other) { told.append($0) }
            #expect(count == 2 && told.map(\.stream) == ["a", "b"] && told.map(\.isNew) == [false, false])
            #expect(told[0].eventCount == 2 && told[0].columns.contains(#""from" : "a@x", "to" : "A@x""#), "\(told)")
            told = []
            try await changes.run(from: 0, to: 3, stream: "b", on: other) { told.append($0) }
            #expect(told.map(\.stream) == ["b"] && told.map(\.isNew) == [true])
            await other.close()
        }
    }

    /// Rows that were changed by hand are found and explained, and a sample finds them too.
    @Test func drift() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger)
            let definition = try Self.people()
            try await ledger.projecting([definition]) { try await ledger.caughtUp("people") }
            let quiet = Logger(label: "quiet") { _ in SwiftLogNoOpLogHandler() }
            let check = DriftCheck(definition, store: ledger.store, jobsPerSecond: 9, logger: quiet)
            #expect(try await check.compareSample(of: 50)?.differences.count == 0)
            let owner = try await ledger.connect()
            try await owner.execute(script: "UPDATE people SET email = 'a@x' WHERE id = 'a'")
            await owner.close()
            let finding = try await ledger.verify(definition)
            #expect(finding.differences.count == 1)
            let column = try #require(finding.explanations.first?.columns.first)
            #expect(column.rebuiltBy?.position == 4 && column.liveBy?.position == 1, "\(column)")
            #expect(try await check.compareSample(of: 50)?.differences.map(\.columns) == [["email"]])
        }
    }
}
