import ArgumentParser
import Categories
import LedgerCore
import LedgerSettings
import Postgres

struct CategoriesList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the categories.",
        discussion: """
            Lists the built-in categories and those of --categories, with the types of their events. With DATABASE_URL \
            it also shows which of them the ledger has: installed, changed (the ledger has another definition), or \
            missing. `jobledger migrate` installs what is changed or missing. Categories that only the ledger has are \
            listed too. Exit code 3 if DATABASE_URL is set and the database cannot be reached.

            EXAMPLE
              jobledger categories list
              jobledger categories list --categories ./my-categories --json
            """)

    @OptionGroup var categories: CategoryOptions
    @OptionGroup var options: LedgerOptions

    private struct Line: Encodable {
        var category: String
        var types: [String]?
        var hash: String?
        /// Missing where no ledger was asked.
        var state: String?
    }

    func run() async throws {
        let settings = try await options.settings()
        let definitions = try categories.definitions()
        var installed: [ExactText: String]?
        if settings.databaseURL != nil {
            let connection = try await settings.connect("jobledger categories")
            installed = try await CategoryInstall.installed(on: connection)
            await connection.close()
        } else {
            Output.diagnostic(
                "no ledger was asked which of these it has: DATABASE_URL is not set, in the environment or in .env")
        }
        var lines = definitions.map { definition in
            Line(
                category: definition.name.text, types: definition.types.map(\.text), hash: definition.hash,
                state: installed.map { Self.state(of: definition, in: $0) })
        }
        let known = Set(definitions.map { ExactText($0.name.text) })
        for name in (installed ?? [:]).keys.sorted() where !known.contains(name) {
            lines.append(Line(category: name.text, types: nil, hash: installed?[name], state: "only in the ledger"))
        }
        for line in lines { try show(line) }
    }

    private static func state(of definition: CategoryDefinition, in installed: [ExactText: String]) -> String {
        guard let hash = installed[ExactText(definition.name.text)] else { return "missing" }
        return hash == definition.hash ? "installed" : "changed"
    }

    private func show(_ line: Line) throws {
        if options.json { return try Output.json(line) }
        let types = line.types.map { $0.joined(separator: ", ") } ?? ""
        try Output.line(line.category.padded(to: 20) + (line.state.map { $0.padded(to: 20) } ?? "") + types)
    }
}
