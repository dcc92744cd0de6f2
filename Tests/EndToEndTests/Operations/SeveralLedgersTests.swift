import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("two ledgers in one database") struct SeveralLedgersTests {
        @Test("do not see each other") func apart() async throws {
            try await UserLedger.with(projecting: true) { one in
                try await UserLedger.with(projecting: true) { other in
                    let appended = try await one.run("append", "a", "queued", "--data", #"{"name":"one"}"#)
                    #expect(appended.code == 0, "\(appended)")
                    #expect(try await other.run("append", "a", "queued", "--data", #"{"name":"other"}"#).code == 0)
                    #expect(
                        try await one.run("append", "b", "queued", "--data", #"{"name":"one"}"#, "--json").json()[
                            "position"] == 2
                    )
                    #expect(try await one.run("show", "a", "--json").json()["name"] == "one")
                    #expect(try await other.run("show", "a", "--json").json()["name"] == "other")
                    #expect(try await other.run("show", "b").code == 1)
                    #expect(try await other.run("tail", "--until-head").lines.count == 1)
                    #expect(
                        try await one.run("status", "--json").json()["epoch"]
                            != other.run("status", "--json").json()["epoch"])
                }
            }
        }

        /// Runs all commands, from `migrate` on, beside a ledger that has a job of the same id. No
        /// command may make or need a schema `jobledger`.
        @Test("every command works on the ledger that JOBLEDGER_SCHEMA names") func everyCommand() async throws {
            try await UserLedger.with { neighbour in
                try await neighbour.ledger.queue("a", total: 99)
                var user = neighbour
                let schema = "second_\(neighbour.ledger.name)"
                user.environment["JOBLEDGER_SCHEMA"] = schema

                let missing = try await user.run("status")
                #expect(missing.code == 1 && missing.errors.contains("JOBLEDGER_SCHEMA"), "\(missing)")
                #expect(
                    try await user.run("migrate", "status", "--json").jsonLines().allSatisfy {
                        $0["applied"] == .bool(false)
                    })
                #expect(try await user.run("migrate").code == 0)
                #expect(
                    try await user.run("migrate", "status", "--json").jsonLines().allSatisfy {
                        $0["applied"] == .bool(true)
                    })

                try await user.running("relay") { _ in
                    try await user.running("project") { _ in
                        try await user.untilProjected()
                        try await Self.use(user, schema: schema)
                        try await until("the relay has published everything") {
                            try await user.run("status", "--json").json()["relay"]?["lag"] == 0
                        }
                    }
                }
                let undone = try await user.run("migrate", "down")
                #expect(undone.code == 0, "\(undone)")

                #expect(try await neighbour.run("history", "a", "--json").jsonLines().count == 1)
                #expect(try await neighbour.run("status", "--json").json()["head"] == 1)
                let schemas = try await user.psql("SELECT to_regnamespace('jobledger') IS NULL")
                #expect(schemas.output == "t\n", "a command made the schema jobledger: \(schemas)")
                #expect(try await user.psql("DROP SCHEMA \"\(schema)\" CASCADE").code == 0)
            }
        }

        private static func use(_ user: UserLedger, schema: String) async throws {
            let queued = try await user.run("append", "a", "queued", "--data", #"{"name":"mine","total":4}"#, "--json")
                .json()
            #expect(queued["position"] == 1 && queued["version"] == 1)
            let lines = """
                {"job":"a","type":"progress","data":{"completed":2}}
                {"job":"a","type":"finished"}
                {"job":"b","type":"queued","data":{"name":"b"}}
                """
            let file = try await user.run("append", "--file", "-", "--json", input: Data(lines.utf8)).json()
            #expect(file["appended"] == 3)

            let history = try await user.run("history", "a", "--json").jsonLines()
            #expect(history.map { $0["source"]?.text } == Array(repeating: "/jobledger/\(schema)", count: 3))
            #expect(try await user.run("tail", "--until-head").lines.count == 4)
            #expect(try await user.run("watch", "a", "--json").jsonLines().count == 3)
            #expect(try await user.run("show", "a", "--json").json()["status"] == "finished")
            #expect(try await user.run("show", "a", "--at", "2", "--json").json()["completed"] == 2)
            #expect(try await user.run("status").output.contains(schema))
            for projection in ["batch_jobs", "batch_job_runs"] {
                let verified = try await user.run("verify", projection, "--json").json()
                #expect(verified["equal"] == .bool(true) && verified["position"] == 4)
                let rebuilt = try await user.run("rebuild", projection, "--json").json()
                #expect(rebuilt["digest"] == verified["live_digest"] && rebuilt["events"] == 4)
            }
            #expect(try await user.run("projections", "test").code == 0)
        }
    }
}
