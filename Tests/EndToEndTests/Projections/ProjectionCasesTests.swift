import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("projections test") struct ProjectionCasesTests {
        /// A folder with one projection that counts the events of each job, and one case.
        private static func folder(expecting count: Int) throws -> URL {
            let folder = try makeDirectory("projections")
            let files = [
                "projection.json": """
                {"name": "event_counts", "consumes": ["queued", "progress"], "key": "stream_id",
                 "tables": ["event_counts"]}
                """,
                "schema.sql": "CREATE TABLE event_counts (job varchar(255) PRIMARY KEY, events integer NOT NULL);",
                "apply.sql": """
                INSERT INTO event_counts SELECT stream_id, count(*) FROM new_events GROUP BY stream_id
                ON CONFLICT (job) DO UPDATE SET events = event_counts.events + excluded.events;
                """,
                "cases/two.json": """
                {"about": "two events", "events": [{"job": "a", "type": "queued", "data": {"name": "x"}},
                                                   {"job": "a", "type": "progress", "data": {"completed": 1}}],
                 "expect": {"event_counts": [{"job": "a", "events": \(count)}]}}
                """,
            ]
            for (name, text) in files {
                let file = folder.appending(path: "event_counts/\(name)")
                try FileManager.default.createDirectory(
                    at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(text.utf8).write(to: file)
            }
            return folder
        }

        @Test("runs the cases on the database, or on a private one if none is set", arguments: [true, false])
        func builtIn(withDatabase: Bool) async throws {
            let environment = withDatabase ? ["DATABASE_URL": try await TestServers.shared.postgresURL()] : [:]
            let outcome = try await Program.jobledger.run(["projections", "test", "--json"], environment: environment)
            #expect(outcome.code == 0, "\(outcome)")
            let lines = try outcome.jsonLines()
            #expect(lines.count >= 2 && lines.allSatisfy { $0["passed"] == true && $0["problems"] == [] })
            #expect(
                Set(lines.compactMap { $0["projection"]?.text }) == [
                    "audit_log", "backtesting", "batch_jobs", "batch_job_runs", "daily_job_stats",
                ])
        }

        @Test("runs the cases of another folder") func ofAnotherFolder() async throws {
            let url = try await TestServers.shared.postgresURL()
            let folder = try Self.folder(expecting: 2)
            let outcome = try await Program.jobledger.run(
                ["projections", "test", "event_counts", "--projections", folder.path],
                environment: ["DATABASE_URL": url])
            #expect(outcome.code == 0, "\(outcome)")
            #expect(outcome.output.contains("ok   event_counts/cases/two.json"), "\(outcome)")
        }

        @Test("shows how a case differs, with exit 1") func failing() async throws {
            let url = try await TestServers.shared.postgresURL()
            let folder = try Self.folder(expecting: 7)
            let outcome = try await Program.jobledger.run(
                ["projections", "test", "event_counts", "--projections", folder.path],
                environment: ["DATABASE_URL": url])
            #expect(outcome.code == 1)
            #expect(outcome.output.contains("FAIL event_counts/cases/two.json"), "\(outcome)")
            #expect(outcome.output.contains(#"event_counts {"job" : "a"}: events differ"#), "\(outcome)")
            #expect(outcome.output.contains(#"expected {"job": "a", "events": 7}"#), "\(outcome)")
            #expect(outcome.output.contains(#"got      {"job": "a", "events": 2}"#), "\(outcome)")
            #expect(outcome.output.hasSuffix("0 cases hold, 1 does not\n"), "\(outcome)")
        }

        @Test(
            "refuses a statement that would end the transaction, and leaves nothing behind",
            arguments: ["test", "check"])
        func transactionControl(command: String) async throws {
            let url = try await TestServers.shared.postgresURL()
            let folder = try Self.folder(expecting: 2)
            let file = folder.appending(path: "event_counts/apply.sql")
            let apply = try String(contentsOf: file, encoding: .utf8)
            let table = "pwned_\(UInt32.random(in: .min ... .max))"
            try Data((apply + "\nCOMMIT;\nCREATE TABLE public.\(table) (x int);").utf8).write(to: file)
            let outcome = try await Program.jobledger.run(
                ["projections", command, "event_counts", "--projections", folder.path],
                environment: ["DATABASE_URL": url])
            #expect(
                outcome.code == 2
                    && outcome.errors.contains("event_counts: apply.sql:3: COMMIT is not for a projection"),
                "\(outcome)")
            let left = try await Program.psql().run([
                "--no-psqlrc", "-qAt", "-c", "SELECT to_regclass('public.\(table)') IS NULL", url,
            ])
            #expect(left.output == "t\n", "\(left)")
        }

        /// A folder that was silently ignored would look as if it were in use.
        @Test("reports a path that is not a folder of projections, and unreadable files in it") func odd() async throws
        {
            func errors(_ path: String) async throws -> String {
                let outcome = try await Program.jobledger.run([
                    "projections", "test", "batch_jobs", "--projections", path,
                ])
                #expect(outcome.code == 2, "\(outcome)")
                return outcome.errors
            }
            for path in ["/etc/passwd", "/dev/null"] {
                #expect(try await errors(path).contains("--projections \(path) is not a folder"))
            }
            #expect(try await errors("/no/such").contains("--projections /no/such: no such folder"))
            func entry(_ name: String, _ make: (String) throws -> Void) async throws -> (path: String, errors: String) {
                let folder = try Self.folder(expecting: 2)
                let path = folder.appending(path: name).path
                try make(path)
                return (path, try await errors(folder.path))
            }
            for name in ["mine", "event_counts/notes", "event_counts/cases/b.json"] {
                let link = try await entry(name) { #expect(symlink("/no/such", $0) == 0) }
                #expect(link.errors.contains("\(link.path) cannot be read: it is a link to nothing"), "\(link)")
                let pipe = try await entry(name) { #expect(mkfifo($0, 0o600) == 0) }
                #expect(pipe.errors.contains("\(pipe.path) is neither a plain file nor a folder"), "\(pipe)")
            }
            for name in ["mine", "apply.sql", "projection.json"] {
                let file = try await entry(name) { try Data("x".utf8).write(to: URL(filePath: $0)) }
                #expect(file.errors.contains("\(name) is a file, and no projection"), "\(file)")
            }
            let latin = try await entry("event_counts/cases/b.json") { try Data([0xE9]).write(to: URL(filePath: $0)) }
            #expect(latin.errors.contains("\(latin.path) is not UTF-8"), "\(latin)")
        }

        /// Mounted or shared folders are often links. Files for people may stand beside them.
        @Test("accepts a projection that is a link to a folder") func linked() async throws {
            let real = try Self.folder(expecting: 2)
            let folder = try makeDirectory("linked")
            #expect(
                symlink(real.appending(path: "event_counts").path, folder.appending(path: "event_counts").path) == 0)
            for name in ["README.md", ".gitkeep"] { try Data().write(to: folder.appending(path: name)) }
            let outcome = try await Program.jobledger.run(
                ["projections", "test", "event_counts", "--projections", folder.path],
                environment: ["DATABASE_URL": try await TestServers.shared.postgresURL()])
            #expect(outcome.code == 0 && outcome.output.contains("ok   event_counts/cases/two.json"), "\(outcome)")
        }

        @Test("check refuses clocks, random values, sequences and other tables, and says where")
        func check() async throws {
            let environment = ["DATABASE_URL": try await TestServers.shared.postgresURL()]
            let folder = try Self.folder(expecting: 2)
            let file = folder.appending(path: "event_counts/apply.sql")
            let apply = try String(contentsOf: file, encoding: .utf8)
            func run() async throws -> Outcome {
                try await Program.jobledger.run(
                    ["projections", "check", "event_counts", "--projections", folder.path, "--json"],
                    environment: environment)
            }
            let fine = try await run()
            #expect(fine.code == 0, "\(fine)")
            #expect(try fine.json()["passed"] == true && fine.json()["problems"] == [])
            let broken = [
                ("extract(epoch FROM now())::int", "now() is the clock"),
                ("(random() * 9)::int", "random() is another value each time"),
                ("nextval('numbers')::int", "the sequence numbers"),
                ("(SELECT count(*)::int FROM events)", "events is a table of another"),
            ]
            for (expression, what) in broken {
                try Data(apply.replacing("count(*)", with: "\n" + expression).utf8).write(to: file)
                let schema = "CREATE TABLE event_counts (job varchar(255) PRIMARY KEY, events integer NOT NULL);"
                try Data((expression.contains("nextval") ? schema + "\nCREATE SEQUENCE numbers;" : schema).utf8)
                    .write(to: folder.appending(path: "event_counts/schema.sql"))
                let refused = try await run()
                #expect(refused.code == 1, "\(refused)")
                let problems = try refused.json()["problems"]?.elements ?? []
                #expect(problems.contains { $0["what"]?.text?.contains(what) == true }, "\(refused)")
                #expect(problems.contains { $0["place"] == "apply.sql:2" }, "\(refused)")
                #expect(problems.allSatisfy { $0.members == ["place", "what", "instead"] })
            }
        }

        @Test("are projected beside the built-in ones") func projected() async throws {
            try await UserLedger.with { user in
                let folder = try Self.folder(expecting: 2)
                try await user.ledger.queue("a")
                try await user.ledger.progress("a", 1)
                try await user.running("project", "--projections", folder.path) { _ in
                    try await until("the events are counted") {
                        try await user.psql("SELECT events FROM \"\(user.ledger.name)\".event_counts").lines == ["2"]
                    }
                    #expect(try await user.run("verify", "event_counts", "--projections", folder.path).code == 0)
                }
            }
        }
    }
}
