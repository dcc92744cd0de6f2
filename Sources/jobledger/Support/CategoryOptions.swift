import ArgumentParser
import Categories
import EventStore
import LedgerCore
import Postgres
import Projections

/// The option that adds categories to the built-in ones.
struct CategoryOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A folder with categories of your own. They are added to the built-in ones; one of the same name "
                + "replaces a built-in one.", valueName: "dir"))
    var categories: String?

    func definitions() throws -> [CategoryDefinition] { try CategoryDefinition.all(in: categories) }

    /// The checks of projections, whose events may have these categories.
    func checks(of projections: [ProjectionDefinition]) throws -> [ProjectionCheck] {
        let categories = try definitions()
        return try projections.map { try ProjectionCheck($0, categories: categories) }
    }
}

extension [CategoryDefinition] {
    /// The named ones; all of them if no name is given.
    func named(_ names: [String]) throws -> [CategoryDefinition] {
        guard !names.isEmpty else { return self }
        return try names.map { name in
            guard let definition = first(where: { ExactText($0.name.text) == ExactText(name) }) else {
                throw ValidationError(
                    "There is no category \(name). There are: \(map(\.name.text).joined(separator: ", ")).")
            }
            return definition
        }
    }
}

extension CategoryDefinition {
    /// Installs definitions into the ledger at an address.
    /// - Returns: the names of those that were new or had changed.
    static func install(_ definitions: [CategoryDefinition], url: String, ledger: LedgerName) async throws -> [String] {
        let connection = try await PostgresConnection.connect(
            EventStore.configuration(
                url: url, ledger: ledger, applicationName: "jobledger categories \(ledger)", writes: true),
            timeout: .seconds(10))
        do {
            let installed = try await CategoryInstall.install(definitions, on: connection)
            await connection.close()
            return installed.map(\.text)
        } catch {
            await connection.close()
            throw error
        }
    }
}
