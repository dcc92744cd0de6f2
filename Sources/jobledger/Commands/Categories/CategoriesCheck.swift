import ArgumentParser
import Categories
import EventStore
import LedgerCore
import LedgerSettings

struct CategoriesCheck: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check that categories do not contradict themselves.",
        discussion: """
            Reads all categories, and looks for rules that nothing could ever follow, such as a type that no stream \
            gets to, and for names that mean nothing. Then it has Postgres read the patterns, and installs the \
            categories into a scratch ledger that is rolled back. Without DATABASE_URL it starts a private Postgres. \
            Exit code 1 if anything is found, 2 if a file cannot be read as a category.

            EXAMPLE
              jobledger categories check
              jobledger categories check deployment --categories ./my-categories --json
            """)

    @Argument(help: "Only these categories.")
    var names: [String] = []

    @OptionGroup var categories: CategoryOptions
    @OptionGroup var options: LedgerOptions

    private struct Line: Encodable {
        var category: String
        var passed: Bool
        var problems: [Problem]
    }

    private struct Problem: Encodable {
        var file: String
        var pointer: String
        var reason: String
    }

    func run() async throws {
        let settings = try await options.settings()
        let all = try CategoryDefinition.read(in: categories.categories)
        let checked = try all.named(names)
        var problems = CategoryConsistency(all).problems
        if problems.isEmpty {
            problems = try await settings.withScratchServer { url in
                try await ScratchLedger.with(url: url, for: "jobledger categories") { ledger in
                    let problems = try await PatternCheck.problems(of: all, on: ledger.connection)
                    if problems.isEmpty { try await CategoryInstall(all).apply(on: ledger.connection) }
                    return problems
                }
            }
        }
        // Those that were not asked for are shown too where they kept the others from being tried.
        for definition in all {
            let own = problems.filter { ExactText($0.category) == ExactText(definition.name.text) }
            if !own.isEmpty || checked.contains(where: { $0.name == definition.name }) { try show(definition, own) }
        }
        if !problems.isEmpty { throw Failure.refused }
    }

    private func show(_ definition: CategoryDefinition, _ problems: [CategoryProblem]) throws {
        if options.json {
            return try Output.json(
                Line(
                    category: definition.name.text, passed: problems.isEmpty,
                    problems: problems.map {
                        Problem(file: $0.file, pointer: $0.pointer.description, reason: $0.reason)
                    }))
        }
        try Output.line("\(problems.isEmpty ? "ok  " : "FAIL") \(definition.name)")
        for problem in problems { try Output.line("     \(problem.file): \(problem.pointer): \(problem.reason)") }
    }
}
