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
        for outcome in outcomes { try show(outcome) }
        let failed = outcomes.count { !$0.problems.isEmpty }
        if !options.json {
            try Output.line("\(outcomes.count - failed) cases hold, \(failed) \(failed == 1 ? "does" : "do") not")
        }
        if failed > 0 { throw Failure.refused }
        if outcomes.isEmpty {
            Output.diagnostic("there are no cases")
            throw Failure.refused
        }
    }

    private func show(_ outcome: CategoryCases.Outcome) throws {
        let passed = outcome.problems.isEmpty
        if options.json {
            return try Output.json(
                Line(
                    category: outcome.category.text, case: outcome.file, passed: passed, problems: outcome.problems))
        }
        try Output.line("\(passed ? "ok  " : "FAIL") \(outcome.category)/cases/\(outcome.file)")
        for problem in outcome.problems { try Output.line("     \(problem)") }
    }
}
