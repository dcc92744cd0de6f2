import Categories
import HTTPTypes
import LedgerCore

/// A document that describes the service for programs.
enum ServiceDocument: String, CaseIterable, Sendable {
    case openapi = "openapi.json"
    case asyncapi = "asyncapi.json"

    /// A category as the ledger has it.
    struct Installed: Sendable, Equatable {
        let name: String
        /// `category.json`.
        let definition: String
    }

    /// The document as it ships.
    func shipped() throws -> String {
        guard let file = EmbeddedFiles.all.first(where: { $0.path == rawValue }) else {
            throw Problem(.notFound, "not_found", "this program was built without \(rawValue)")
        }
        return file.text
    }

    /// The document with the categories of a ledger.
    func whole(_ installed: [Installed], ledger: LedgerName) throws -> String {
        var categories: [DocumentedCategory] = []
        var unread: [String] = []
        for category in installed {
            do {
                let files: [ExactText: String] = [ExactText(CategoryDefinition.file): category.definition]
                let definition = try CategoryDefinition(folder: category.name, files: files)
                categories.append(DocumentedCategory(definition: definition))
            } catch {
                // Installed by a program that knows more words.
                unread.append(category.name)
            }
        }
        var base = try JSONTree(reading: try shipped(), file: rawValue)
        if !unread.isEmpty {
            base.note("This program cannot read the definition of \(unread.joined(separator: ", ")).")
        }
        switch self {
        case .openapi:
            // Every ledger takes jobs, also one in which no definition of them is installed.
            let names = Set(installed.map { ExactText($0.name) } + ["job"]).sorted().map(\.text)
            return OpenAPIDocument.whole(base, names: names, categories: categories).text
        case .asyncapi:
            return AsyncAPIDocument.whole(base, ledger: ledger, categories: categories).text
        }
    }

    /// The document for a request that may see the categories while the ledger cannot say which it
    /// has.
    func withoutCategories() throws -> String {
        var base = try JSONTree(reading: try shipped(), file: rawValue)
        base.note("The ledger's categories are missing here, because the ledger could not be asked for them.")
        return base.text
    }
}

extension JSONTree {
    /// Adds a sentence to the description of a document.
    fileprivate mutating func note(_ sentence: String) {
        guard case .string(let before)? = self[within: "info"]["description"] else { return }
        self[within: "info"]["description"] = "\(before) \(sentence)"
    }
}
