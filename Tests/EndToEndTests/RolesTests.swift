import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("roles") struct RolesTests {
        /// Runs `body` with the address of a user who has only the role.
        private func withUser(_ role: String, of user: UserLedger, _ body: (String) async throws -> Void) async throws {
            let name = "u_\(UInt64.random(in: 0 ... .max))"
            let made = try await user.psql("CREATE ROLE \(name) LOGIN PASSWORD 'secret' IN ROLE \"\(user.ledger.name)_\(role)\"")
            #expect(made.code == 0, "\(made)")
            var url = try #require(URLComponents(string: user.ledger.url))
            (url.user, url.password) = (name, "secret")
            try await body(try #require(url.string))
            let dropped = try await user.psql("DROP ROLE \(name)")
            #expect(dropped.code == 0, "\(dropped)")
        }

        @Test("an appender appends and does nothing else") func appender() async throws {
            try await UserLedger.with { user in
                let schema = "\"\(user.ledger.name)\""
                try await withUser("appender", of: user) { url in
                    let appended = try await user.psql(
                        #"SELECT * FROM \#(schema).append_event('a', 'queued', '{"name":"x"}')"#, url: url)
                    #expect(appended.code == 0)
                    #expect(appended.output.hasPrefix("1|1|") && appended.output.hasSuffix("|f\n"), "\(appended)")
                    let refused = try await user.psql(
                        #"SELECT * FROM \#(schema).append_event('a', 'queued', '{"name":"x"}')"#, url: url)
                    #expect(refused.errors.contains("JL002"), "\(refused)")

                    let forbidden = [
                        "SELECT * FROM \(schema).events", "DELETE FROM \(schema).events", "TRUNCATE \(schema).events",
                        "UPDATE \(schema).events SET type = 'failed'", "SELECT * FROM \(schema).history('a')",
                        "INSERT INTO \(schema).events SELECT * FROM \(schema).events",
                        "UPDATE \(schema).checkpoints SET position = 0",
                        "INSERT INTO \(schema).events (position, event_id, stream_id, version, type, data, recorded_at) VALUES (2, gen_random_uuid(), 'b', 1, 'queued', '{}', now())",
                        "CREATE TABLE \(schema).mine ()",
                    ]
                    for statement in forbidden {
                        let outcome = try await user.psql(statement, url: url)
                        #expect(outcome.code != 0 && outcome.errors.contains("42501"), "\(statement): \(outcome)")
                    }
                    var environment = user.environment
                    environment["DATABASE_URL"] = url
                    let program = try await Program.jobledger.run(
                        ["append", "a", "progress", "--data", #"{"completed":1}"#, "--json"], environment: environment)
                    #expect(try program.json()["position"] == 2, "\(program)")
                    let history = try await Program.jobledger.run(["history", "a"], environment: environment)
                    #expect(history.code == 1)
                    #expect(history.errors.contains("reading SCHEMA_reader"), "\(history)")
                }
            }
        }

        @Test("a reader reads and does nothing else") func reader() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await user.ledger.queue("a")
                try await user.untilProjected()
                try await withUser("reader", of: user) { url in
                    var environment = user.environment
                    environment["DATABASE_URL"] = url
                    for command in [
                        ["history", "a"], ["tail", "--until-head"], ["show", "a"], ["show", "a", "--at", "1"], ["status"],
                    ] {
                        let outcome = try await Program.jobledger.run(command, environment: environment)
                        #expect(outcome.code == 0, "\(command): \(outcome)")
                    }
                    let append = try await Program.jobledger.run(["append", "a", "progress"], environment: environment)
                    #expect(append.code == 1)
                    #expect(append.errors.contains("appending needs the role SCHEMA_appender"), "\(append)")
                    #expect(try await user.ledger.count() == 1)
                }
            }
        }

        @Test("nobody changes the log, not even its owner") func owner() async throws {
            try await UserLedger.with { user in
                try await user.ledger.queue("a")
                for statement in ["UPDATE events SET type = 'failed'", "DELETE FROM events", "TRUNCATE events"] {
                    let outcome = try await user.psql("SET search_path = \"\(user.ledger.name)\"; \(statement)")
                    #expect(outcome.code != 0 && outcome.errors.contains("the log is append-only"), "\(outcome)")
                }
            }
        }
    }
}
