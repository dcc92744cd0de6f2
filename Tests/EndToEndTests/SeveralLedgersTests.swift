import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("two ledgers in one database") struct SeveralLedgersTests {
        @Test("do not see each other") func apart() async throws {
            try await UserLedger.with(projecting: true) { one in
                try await UserLedger.with(projecting: true) { other in
                    let appended = try await one.run("append", "a", "queued", "--data", #"{"name":"one"}"#)
                    #expect(appended.code == 0)
                    #expect(try await other.run("append", "a", "queued", "--data", #"{"name":"other"}"#).code == 0)
                    #expect(
                        try await one.run("append", "b", "queued", "--data", #"{"name":"one"}"#, "--json").json()["position"] == 2
                    )
                    #expect(try await one.run("show", "a", "--json").json()["name"] == "one")
                    #expect(try await other.run("show", "a", "--json").json()["name"] == "other")
                    #expect(try await other.run("show", "b").code == 1)
                    #expect(try await other.run("tail", "--until-head").lines.count == 1)
                    #expect(
                        try await one.run("status", "--json").json()["epoch"] != other.run("status", "--json").json()["epoch"])
                }
            }
        }
    }
}
