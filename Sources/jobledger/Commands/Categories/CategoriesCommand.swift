import ArgumentParser

struct CategoriesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "categories",
        abstract: "Write categories of streams, and test and list them.",
        discussion: """
            docs/categories.md is the guide. `jobledger migrate` and `jobledger up` install categories.

            EXAMPLE
              jobledger categories new deployment
              jobledger categories test deployment --categories categories
              jobledger migrate --categories categories
            """,
        subcommands: [CategoriesNew.self, CategoriesTest.self, CategoriesCheck.self, CategoriesList.self])
}
