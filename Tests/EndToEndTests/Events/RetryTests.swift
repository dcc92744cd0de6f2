import EventStore
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("append again") struct RetryTests {
        @Test("with the same event id answers with the original position") func retry() async throws {
            try await UserLedger.with { user in
                let id = "0190b0c8-6f2a-7000-8000-00000000abcd"
                let queued = [
                    "append", "a", "queued", "--data", #"{"name":"x","total":2}"#, "--event-id", id, "--json",
                ]
                let first = try await Program.jobledger.run(queued, environment: user.environment)
                #expect(first.code == 0)
                #expect(
                    try first.json()
                        == JSONValue(
                            parsing: """
                                {"position":1,"version":1,"event_id":"\(id)","duplicate":false,"durability":"local"}
                                """))

                // A retry gives the same answer even if the job has ended since.
                #expect(try await user.run("append", "a", "failed", "--data", #"{"error":"x"}"#).code == 0)
                let again = try await Program.jobledger.run(queued, environment: user.environment)
                #expect(again.code == 0)
                #expect(
                    try again.json()
                        == JSONValue(
                            parsing: """
                                {"position":1,"version":1,"event_id":"\(id)","duplicate":true,"durability":"local"}
                                """))
                #expect(try await user.ledger.store.head() == 2)
            }
        }

        @Test("with an expected version works once") func expectedVersion() async throws {
            try await UserLedger.with { user in
                let queued = try await user.run(
                    "append", "a", "queued", "--data", #"{"name":"x"}"#, "--expected-version", "none", "--json")
                #expect(try queued.json()["version"] == 1)
                let progress = [
                    "append", "a", "progress", "--data", #"{"completed":1}"#, "--expected-version", "1", "--json",
                ]
                #expect(try await Program.jobledger.run(progress, environment: user.environment).json()["version"] == 2)
                let late = try await Program.jobledger.run(progress, environment: user.environment)
                #expect(late.code == 1)
                #expect(try late.json()["error"]?["code"] == "version_conflict")
            }
        }
    }
}
