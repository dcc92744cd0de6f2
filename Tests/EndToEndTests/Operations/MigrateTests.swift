import LedgerCore
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("migrate") struct MigrateTests {
        /// Runs `body` with the environment of a ledger that does not exist yet.
        private func withoutLedger(_ body: ([String: String]) async throws -> Void) async throws {
            let url = try await TestServers.shared.postgresURL()
            let schema = "m_\(UInt64.random(in: 0 ... .max))"
            try await body(["DATABASE_URL": url, "JOBLEDGER_SCHEMA": schema])
            let dropped = try await Program.psql().run(["-q", "-c", "DROP SCHEMA IF EXISTS \(schema) CASCADE", url])
            #expect(dropped.code == 0, "\(dropped)")
        }

        private func migrate(_ arguments: String..., in environment: [String: String]) async throws -> Outcome {
            try await Program.jobledger.run(["migrate"] + arguments, environment: environment)
        }

        private func names(_ outcome: Outcome, _ member: String) throws -> [String] {
            try outcome.json()[member]?.elements.compactMap(\.text) ?? []
        }

        @Test("applies all migrations once, undoes them one by one, and applies them again")
        func upAndDown() async throws {
            try await withoutLedger { environment in
                let before = try await migrate("status", "--json", in: environment).jsonLines()
                #expect(!before.isEmpty && before.allSatisfy { $0["applied"] == false })
                #expect(before.allSatisfy { $0.members == ["version", "name", "applied"] })

                let all = before.compactMap { $0["name"]?.text }
                #expect(try names(try await migrate("--json", in: environment), "applied") == all)
                #expect(try names(try await migrate("up", "--json", in: environment), "applied") == [])
                #expect(
                    try await migrate("up", in: environment).output
                        == "nothing to do: all \(all.count) migrations are applied\n")
                #expect(
                    try await migrate("status", "--json", in: environment).jsonLines().allSatisfy {
                        $0["applied"] == true
                    })

                for name in all.reversed() {
                    #expect(try names(try await migrate("down", "--json", in: environment), "undone") == [name])
                }
                #expect(try names(try await migrate("down", "--json", in: environment), "undone") == [])
                #expect(try names(try await migrate("up", "--json", in: environment), "applied") == all)
            }
        }

        @Test("run twice at the same time applies each migration once") func together() async throws {
            try await withoutLedger { environment in
                async let one = migrate("--json", in: environment)
                async let other = migrate("--json", in: environment)
                let (first, second) = try await (one, other)
                #expect(first.code == 0 && second.code == 0, "\(first) \(second)")
                let applied = try names(first, "applied") + names(second, "applied")
                #expect(Set(applied).count == applied.count)
                let status = try await migrate("status", "--json", in: environment).jsonLines()
                #expect(status.count == applied.count && status.allSatisfy { $0["applied"] == true })
            }
        }

        @Test("is suggested by other commands if it has not run") func hint() async throws {
            try await withoutLedger { environment in
                for command in [
                    ["status"], ["append", "a", "queued"], ["tail", "--until-head"], ["show", "a"],
                    ["verify", "batch_jobs"],
                ] {
                    let outcome = try await Program.jobledger.run(command, environment: environment)
                    #expect(outcome.code == 1, "\(command): \(outcome)")
                    #expect(outcome.errors.contains("`jobledger migrate`"), "\(command): \(outcome)")
                }
            }
        }

        @Test("down never drops events") func keepsEvents() async throws {
            try await UserLedger.with { user in
                try await user.ledger.queue("a")
                var outcome = try await user.run("migrate", "down")
                while outcome.code == 0, !outcome.output.hasPrefix("nothing") {
                    outcome = try await user.run("migrate", "down")
                }
                #expect(outcome.code == 1)
                #expect(outcome.errors.contains("dropping it would lose them"), "\(outcome)")
                #expect(try await user.ledger.count() == 1)
            }
        }
    }
}
