import ArgumentParser
import Categories
import EventStore
import LedgerCore
import LedgerSettings

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Create or change the ledger's schema.",
        discussion: """
            up (the default) applies the missing migrations. It also gives the ledger's roles back the rights that a \
            restore on another server has lost, and installs the categories that are new or have changed: those built \
            in, and those of --categories. down undoes the last migration, status lists all of them. The files have \
            the format of dbmate and use its table of versions: \
            dbmate --url "$DATABASE_URL?search_path=jobledger" up does the same, without the categories.

            EXAMPLE
              jobledger migrate
              jobledger migrate --categories ./my-categories
              jobledger migrate status --json
            """)

    enum Action: String, ExpressibleByArgument, CaseIterable { case up, down, status }

    @Argument(help: "up, down or status.")
    var action = Action.up

    @OptionGroup var categories: CategoryOptions
    @OptionGroup var options: LedgerOptions

    private struct Line: Encodable {
        var version: ExactText
        var name: String
        var applied: Bool
    }

    func run() async throws {
        let settings = try await options.settings()
        // Read first: with a mistake in a file nothing is done.
        let definitions = try categories.definitions()
        let migrator = Migrator(
            url: try settings.requireDatabaseURL(), ledger: settings.ledger, files: try MigrationFile.embedded())
        switch action {
        case .up:
            var mended: [String] = []
            let applied = try await migrator.up { mended = $0 }
            let installed = try await CategoryDefinition.install(
                definitions, url: try settings.requireDatabaseURL(), ledger: settings.ledger)
            if options.json {
                return try Output.json(["applied": applied, "mended": mended, "categories": installed])
            }
            for right in mended { try Output.line("mended   \(right)") }
            for name in applied { try Output.line("applied \(name)") }
            for name in installed { try Output.line("installed category \(name)") }
            if applied.isEmpty, mended.isEmpty, installed.isEmpty {
                try Output.line("nothing to do: all \(migrator.files.count) migrations are applied")
            }
        case .down:
            let undone = try await migrator.down()
            if options.json { return try Output.json(["undone": undone.map { [$0] } ?? []]) }
            try Output.line(undone.map { "undone \($0)" } ?? "nothing to do: no migration is applied")
        case .status:
            for status in try await migrator.status() {
                if options.json {
                    try Output.json(Line(version: status.version, name: status.name, applied: status.isApplied))
                } else {
                    try Output.line("\(status.isApplied ? "applied" : "missing")  \(status.name)")
                }
            }
        }
    }
}
