import ArgumentParser
import Categories
import LedgerCore

struct CategoriesNew: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "new",
        abstract: "Begin a category: write a folder with a working example.",
        discussion: """
            Writes a definition, a case and a README for you to change. Never overwrites a file.

            EXAMPLE
              jobledger categories new deployment
              jobledger categories new deployment --categories ./my-categories
            """)

    @Argument(help: "The name of the category and of its folder: 1 to 50 of a–z, 0–9 and _.")
    var name: String

    @Option(help: ArgumentHelp("The folder that contains the folders of categories.", valueName: "dir"))
    var categories = "categories"

    @Flag(help: "Answer in JSON.")
    var json = false

    private struct Answer: Encodable {
        var category: String
        var files: [String]
    }

    func run() async throws {
        guard let category = LedgerName(name), Category(name) != nil else {
            throw ValidationError(
                "\(name): a category's name has 1 to 50 of a–z, 0–9 and _, and begins with a letter, but not with pg_.")
        }
        guard ExactText(name) != CategoryDefinition.job else {
            throw ValidationError("The rules of jobs are a part of the ledger: take another name.")
        }
        let files = try NewCategory(category).write(in: categories)
        if json { return try Output.json(Answer(category: name, files: files)) }
        for file in files { try Output.line(file) }
        Output.diagnostic("next: jobledger categories test \(name) --categories \(categories)")
    }
}
