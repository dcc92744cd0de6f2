import ArgumentParser
import Categories
import LedgerCore
import LedgerSettings

struct CategoriesTest: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Run the cases of the categories.",
        discussion: """
            Appends the events of each case to a scratch ledger, compares what it accepts and refuses with what the \
            case says, and rolls back. Without DATABASE_URL it starts a private Postgres. Exit code 1 if a case fails.

            EXAMPLE
              jobledger categories test
              jobledger categories test deployment --categories ./my-categories
            """)

    @Argument(help: "Only these categories.")
    var names: [String] = []

    @OptionGroup var categories: CategoryOptions
    @OptionGroup var options: LedgerOptions

    private struct Line: Encodable {
        var category: String
        var `case`: String
        var passed: Bool
        var problems: [String]
    }

    func run() async throws {
        let settings = try await options.settings()
        let definitions = try categories.definitions()
        let tested = try definitions.named(names).map(\.name)
        let outcomes = try await settings.withScratchServer {
            try await CategoryCases(definitions, testing: tested).run(url: $0)
        }
        let shown = outcomes.map {
            CaseReport.Outcome(definition: $0.category.text, file: $0.file, problems: $0.problems)
        }
        try CaseReport.show(shown, json: options.json) {
            Line(category: $0.definition, case: $0.file, passed: $0.passed, problems: $0.problems)
        }
    }
}
