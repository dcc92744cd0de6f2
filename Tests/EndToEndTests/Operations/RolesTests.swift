import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("roles") struct RolesTests {
        /// Runs `body` with the address of a database user who has only these roles.
        private func withUser(_ roles: String..., of user: UserLedger, _ body: (String) async throws -> Void)
            async throws
        {
            let name = "u_\(UInt64.random(in: 0 ... .max))"
            let groups = roles.map { "\"\(user.ledger.name)_\($0)\"" }.joined(separator: ", ")
            let made = try await user.psql("CREATE ROLE \(name) LOGIN PASSWORD 'secret' IN ROLE \(groups)")
            #expect(made.code == 0, "\(made)")
            if roles == ["projector"] {
                // As docs/security.md says.
                let database = try await user.psql("SELECT current_database()").lines[0]
                let set = try await user.psql(
                    "ALTER ROLE \(name) SET role = \(groups); GRANT CREATE ON DATABASE \(database) TO \(groups)")
                #expect(set.code == 0, "\(set)")
            }
            var url = try #require(URLComponents(string: user.ledger.url))
            (url.user, url.password) = (name, "secret")
            try await body(try #require(url.string))
            if roles == ["projector"] {
                let database = try await user.psql("SELECT current_database()").lines[0]
                _ = try await user.psql("REVOKE CREATE ON DATABASE \(database) FROM \(groups)")
            }
            let dropped = try await user.psql("DROP ROLE \(name)")
            #expect(dropped.code == 0, "\(dropped)")
        }

        @Test("the error for a user without a role names the roles") func nobody() async throws {
            try await UserLedger.with { user in
                let name = "u_\(UInt64.random(in: 0 ... .max))"
                #expect(try await user.psql("CREATE ROLE \(name) LOGIN PASSWORD 'secret'").code == 0)
                var url = try #require(URLComponents(string: user.ledger.url))
                (url.user, url.password) = (name, "secret")
                var environment = user.environment
                environment["DATABASE_URL"] = url.string
                for command in [
                    ["append", "a", "queued"], ["status"], ["history", "a"], ["audit", "verify"], ["relay"],
                    ["migrate"],
                ] {
                    let outcome = try await Program.jobledger.run(command, environment: environment)
                    #expect(outcome.code == 1, "\(command): \(outcome)")
                    #expect(
                        outcome.errors.contains("the user \(name) is in none of the roles"), "\(command): \(outcome)")
                    #expect(outcome.errors.contains("SCHEMA_appender"), "\(command): \(outcome)")
                }
                #expect(try await user.psql("DROP ROLE \(name)").code == 0)
            }
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
                        "INSERT INTO \(schema).events (position, event_id, stream_id, version, type, data, recorded_at)"
                            + " VALUES (2, gen_random_uuid(), 'b', 1, 'queued', '{}', now())",
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
                        ["history", "a"], ["tail", "--until-head"], ["show", "a"], ["show", "a", "--at", "1"],
                        ["status"],
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

        @Test("nobody can change the log, not even its owner") func owner() async throws {
            try await UserLedger.with { user in
                try await user.ledger.queue("a")
                for statement in ["UPDATE events SET type = 'failed'", "DELETE FROM events", "TRUNCATE events"] {
                    let outcome = try await user.psql("SET search_path = \"\(user.ledger.name)\"; \(statement)")
                    #expect(outcome.code != 0 && outcome.errors.contains("the log is append-only"), "\(outcome)")
                }
            }
        }

        /// The same ledger with the address of another database user.
        private func asUser(_ user: UserLedger, _ url: String) -> UserLedger {
            var user = user
            user.environment["DATABASE_URL"] = url
            return user
        }

        @Test("relay, projectors, sealer, service and auditor each run with only their own role")
        func parts() async throws {
            try await UserLedger.with { user in
                let directory = try makeDirectory("roles")
                defer { try? FileManager.default.removeItem(at: directory) }
                let key = directory.appending(path: "seal.key").path
                try await withUser("relay", of: user) { relayURL in
                    try await withUser("projector", of: user) { projectorURL in
                        try await withUser("sealer", of: user) { sealerURL in
                            var sealer = asUser(user, sealerURL)
                            #expect(try await sealer.run("audit", "key", "--out", key).code == 0)
                            sealer.environment["JOBLEDGER_SEAL_KEY"] = key
                            let (relay, projector) = (asUser(user, relayURL), asUser(user, projectorURL))
                            try await relay.running("relay") { _ in
                                try await projector.running("project") { _ in
                                    try await sealer.running("audit", "seal") { _ in
                                        try await withUser("appender", "reader", of: user) { serviceURL in
                                            try await ServiceProcess.with(
                                                asUser(user, serviceURL), token: user.token("append,read,admin")
                                            ) { service in
                                                try await useEverything(user, service)
                                            }
                                        }
                                    }
                                    try await replace(projector)
                                }
                            }
                        }
                    }
                }
            }
        }

        private func useEverything(_ user: UserLedger, _ service: ServiceProcess) async throws {
            let (position, _) = try await service.append(
                #"{"type": "queued", "data": {"name": "x"}, "metadata": {"actor": "ada"}}"#, to: "a")
            #expect(
                try await service.ask("POST", "/v1/jobs/a/events", #"{"type": "queued", "data": {"name": "x"}}"#).status
                    == 409)
            try await until("all parts have come to it") {
                let status = try await user.run("status", "--json").json()
                return status["relay"]?["position"]?.integer == position
                    && status["seal"]?["position"]?.integer == position
                    && status["projections"]?.elements.count == 5
                    && status["projections"]?.elements.allSatisfy {
                        $0["position"]?.integer == position && $0["active"] == true
                    }
                        == true
            }
            #expect(try await service.ask("GET", "/v1/jobs/a").status == 200)
            #expect(try await service.ask("GET", "/v1/audit/events").status == 200)
            #expect(try await service.ask("GET", "/v1/audit/checkpoint").status == 200)
            #expect(try await service.ask("GET", "/readyz").status == 200)
            try await until("the refusal is written") {
                try await service.ask("GET", "/v1/audit/refusals").body.contains("already_queued")
            }
            try await withUser("auditor", of: user) { url in
                let auditor = asUser(user, url)
                for command in [
                    ["audit", "events"], ["audit", "why", "1"], ["audit", "actor", "ada"], ["audit", "job", "a"],
                    ["audit", "job", "a", "--prove"], ["audit", "refusals"], ["audit", "verify"],
                    ["audit", "prove", "1"], ["audit", "consistency", "--from", "0"], ["status"], ["history", "a"],
                    ["show", "a"], ["receipts"], ["export", "--out", "-"], ["token", "list"],
                ] {
                    let outcome = try await Program.jobledger.run(command, environment: auditor.environment)
                    #expect(outcome.code == 0, "\(command): \(outcome)")
                }
                #expect(try await auditor.run("append", "a", "finished").code == 1)
                #expect(try await auditor.run("token", "create", "--scope", "append").code == 1)
            }
        }

        /// Runs the commands that a projector's user may run by hand.
        private func replace(_ projector: UserLedger) async throws {
            for command in [
                ["verify", "batch_jobs"], ["rebuild", "batch_jobs"], ["rebuild", "--drop-old", "batch_jobs"],
                ["verify", "audit_log"], ["receipts"],
            ] {
                let outcome = try await Program.jobledger.run(command, environment: projector.environment)
                #expect(outcome.code == 0, "\(command): \(outcome)")
            }
            #expect(try await projector.run("append", "a", "finished").code == 1)
        }
    }
}
