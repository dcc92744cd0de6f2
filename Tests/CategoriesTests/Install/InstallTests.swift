import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import Categories

@Suite struct InstallTests {
    @Test func installsWhatHasChangedOnly() async throws {
        try await TestLedger.with(connections: 1) { ledger in
            let connection = try await ledger.connect()
            let user = try #require(try CategoryDefinition.all().first { $0.name.text == "user" })
            let ticket = try Given.read(Given.ticket)
            #expect(
                try await CategoryInstall.install([ticket, user], on: connection).map(\.text) == ["user", "ticket"])
            #expect(try await CategoryInstall.install([ticket, user], on: connection) == [])
            let changed = try Given.ticket(#""maximum": 10"#, #""maximum": 20"#)
            #expect(try await CategoryInstall.install([changed, user], on: connection).map(\.text) == ["ticket"])
            let installed = try await CategoryInstall.installed(on: connection)
            #expect(installed["ticket"] == changed.hash && installed["user"] == user.hash)
            await connection.close()
        }
    }

    @Test func installsTheBuiltInOnes() async throws {
        try await TestLedger.with(connections: 1) { ledger in
            let connection = try await ledger.connect()
            let all = try CategoryDefinition.all()
            let names = try await CategoryInstall.install(all, on: connection).map(\.text)
            #expect(names.last == "backtest" && Set(names).isSubset(of: Set(all.map(\.name.text))))
            let installed = try await CategoryInstall.installed(on: connection)
            for definition in all { #expect(installed[ExactText(definition.name.text)] == definition.hash) }
            // The rules of jobs are those of the ledger's own SQL.
            let functions = try await connection.query("SELECT to_regproc('check_of_job') IS NULL").only()
            #expect(try functions.decode(0, as: Bool.self))
            await connection.close()
        }
    }

    /// Nothing is installed where one of the categories cannot be.
    @Test func isAllOrNothing() async throws {
        try await TestLedger.with(connections: 1) { ledger in
            let connection = try await ledger.connect()
            let user = try #require(try CategoryDefinition.all().first { $0.name.text == "user" })
            let broken = try Given.schema(#"{"properties":{"a":{"pattern":"("}}}"#)
            let problem = await #expect(throws: CategoryProblem.self) {
                try await CategoryInstall.install([user, broken], on: connection)
            }
            #expect(
                problem?.description.hasPrefix("category ticket: category.json: /data/t/properties/a/pattern") == true)
            // A reference to a category that the ledger does not have.
            let lonely = try Given.read(Given.ticket)
            let refused = await #expect(throws: CategoryInstall.Refused.self) {
                try await CategoryInstall.install([lonely], on: connection)
            }
            #expect(refused?.description.hasPrefix("category ticket: category.json: the ledger refuses it") == true)
            let installed = try await CategoryInstall.installed(on: connection)
            #expect(installed["user"] == nil && installed["ticket"] == nil)
            await connection.close()
        }
    }
}
