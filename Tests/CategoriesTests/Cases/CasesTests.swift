import LedgerCore
import LedgerTesting
import Testing

@testable import Categories

@Suite struct CasesTests {
    @Test func theCasesOfEveryCategoryHold() async throws {
        let outcomes = try await CategoryCases(try CategoryDefinition.all())
            .run(url: try await TestServers.shared.postgresURL())
        #expect(outcomes.count >= 12)
        for outcome in outcomes { #expect(outcome.problems == [], "\(outcome.category) \(outcome.file)") }
    }

    @Test func theNewCategoryWorks() async throws {
        let name = try #require(LedgerName("deployment"))
        var files: [ExactText: String] = [:]
        for (path, text) in NewCategory(name).files { files[ExactText(path)] = text }
        let definition = try CategoryDefinition(folder: "deployment", files: files)
        #expect(CategoryConsistency([definition]).problems == [])
        let outcomes = try await CategoryCases([definition]).run(url: try await TestServers.shared.postgresURL())
        #expect(outcomes.map(\.problems) == [[]])
    }

    /// A case fails where the ledger accepts or refuses otherwise, and where it cannot be read.
    @Test(arguments: [
        (
            #""refused": "unknown_job""#, #""refused": "already_ended""#,
            "event 1 (a, changed): it was refused with unknown_job"
        ),
        (#", "refused": "not_unique""#, "", "it should be accepted"),
        (#"{"due": null}"#, #"{"due": 5}"#, "event 6 (a, changed): it was refused with invalid_event"),
        (
            #"{"reason": "done"}}"#, #"{"reason": "done"}, "refused": "too_large"}"#,
            "it was accepted; it should be refused"
        ),
        (#""about""#, #""abuot""#, "\"abuot\" is not known here"),
        (#""stream": "b""#, #""job": "b""#, "/events/3/job: \"job\" is not known here"),
        (#""refused": "unknown_job""#, #""refused": "unknown""#, "/events/0/refused: this must be one of unknown_job"),
    ])
    func reportsCasesThatDoNotHold(_ part: String, _ replacement: String, _ report: String) async throws {
        var files: [ExactText: String] = [:]
        for (path, text) in NewCategory(LedgerName("deployment")!).files { files[ExactText(path)] = text }
        let original = try #require(files["cases/first.json"])
        try #require(original.contains(part))
        files["cases/first.json"] = original.replacing(part, with: replacement)
        let definition = try CategoryDefinition(folder: "deployment", files: files)
        let outcomes = try await CategoryCases([definition]).run(url: try await TestServers.shared.postgresURL())
        #expect(outcomes.count == 1)
        #expect(outcomes[0].problems.contains { $0.contains(report) }, "\(outcomes[0].problems)")
    }

    @Test func aBrokenPatternIsReportedBeforeAnythingRuns() async throws {
        let definition = try Given.schema(#"{"properties":{"a":{"pattern":"("}}}"#)
        await #expect(throws: CategoryProblem.self) {
            try await CategoryCases([definition]).run(url: try await TestServers.shared.postgresURL())
        }
    }
}
