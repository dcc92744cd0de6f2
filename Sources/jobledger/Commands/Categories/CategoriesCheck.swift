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
            Everything that is wrong is listed, also where a folder is no category at all. Exit code 1 if anything \
            is found, 2 if a folder or a file cannot be read, or there is no such category.

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
        let reading = try CategoryDefinition.readEach(in: categories.categories)
        let (all, checked) = (reading.definitions, try checked(of: reading.names))
        // A category that cannot be read may well be named by others.
        let broken = Set(reading.problems.map { ExactText($0.category) })
        var problems = reading.problems + CategoryConsistency(all, knowing: broken).problems
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
        for name in reading.names {
            let own = problems.filter { ExactText($0.category) == name }
            if !own.isEmpty || checked.contains(name) { try show(name, own) }
        }
        if !problems.isEmpty { throw Failure.refused }
    }

    /// The names of the categories that are asked for; all of them if no name is given.
    private func checked(of known: [ExactText]) throws -> Set<ExactText> {
        let asked = names.map { ExactText($0) }
        if let name = asked.first(where: { !known.contains($0) }) {
            throw ValidationError(
                "There is no category \(name). There are: \(known.map(\.text).joined(separator: ", ")).")
        }
        return Set(asked.isEmpty ? known : asked)
    }

    private func show(_ category: ExactText, _ problems: [CategoryProblem]) throws {
        if options.json {
            return try Output.json(
                Line(
                    category: category.text, passed: problems.isEmpty,
                    problems: problems.map {
                        Problem(file: $0.file, pointer: $0.pointer.description, reason: $0.reason)
                    }))
        }
        try Output.line(Output.printable("\(problems.isEmpty ? "ok  " : "FAIL") \(category.text)"))
        for problem in problems {
            let place = problem.pointer.tokens.isEmpty ? "" : "\(problem.pointer): "
            try Output.line(Output.printable("     \(problem.file): \(place)\(problem.reason)"))
        }
    }
}
