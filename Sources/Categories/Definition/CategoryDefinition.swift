import Crypto
import Foundation
package import LedgerCore

/// A category of streams as data: the content of `categories/NAME/`.
package struct CategoryDefinition: Sendable, Equatable {
    /// A row of the table of successors: which types may follow one.
    package struct Successors: Sendable, Equatable {
        /// The last type of the stream; `nil` while it has no event.
        package let type: ExactText?
        package let next: [ExactText]
    }

    package struct Unique: Sendable, Equatable {
        package let key: ExactText
        package let ignoringCase: Bool
    }

    package struct Reference: Sendable, Equatable {
        package let key: ExactText
        package let category: ExactText
    }

    package struct NotBefore: Sendable, Equatable {
        package let key: ExactText
        package let other: ExactText
    }

    package static let file = "category.json"

    package let name: LedgerName
    /// `life`, with every type of the category in it.
    package let life: [Successors]
    /// The types behind which a stream counts as gone.
    package let removes: [ExactText]
    /// The schemas, in the order of the file. A type without one takes any object.
    package let data: [(type: ExactText, schema: DataSchema)]
    package let unique: [Unique]
    package let references: [Reference]
    package let notBefore: [NotBefore]
    package let personal: [ExactText]
    /// The cases, by file name.
    package let cases: [(file: String, text: String)]
    /// `category.json` as it is written, with its texts for readers.
    package let content: JSONTree
    /// `category.json` in the one spelling that each content has. The ledger keeps it.
    package let canonical: String

    /// The types of the category's events, in the order of the file.
    package var types: [ExactText] { life.compactMap(\.type) }
    /// The types of which a stream's first event can be.
    package var firstTypes: [ExactText] { life.first { $0.type == nil }?.next ?? [] }

    package func schema(of type: ExactText) -> DataSchema? { data.first { $0.type == type }?.schema }
    package func successors(of type: ExactText) -> [ExactText] { life.first { $0.type == type }?.next ?? [] }

    package static func == (a: CategoryDefinition, b: CategoryDefinition) -> Bool { a.hash == b.hash }

    /// A hash of everything that the ledger is told: the definition, and what its schemas compile
    /// to. So a program whose compiler differs installs the category anew.
    package var hash: String {
        SHA256.hash(data: Data("\(canonical)\u{0}\(checkBody)".utf8)).hexadecimal
    }

    /// - Parameter files: the folder's files, by their path in it.
    package init(folder: String, files: [ExactText: String]) throws(CategoryProblem) {
        guard let text = files[ExactText(Self.file)] else {
            throw CategoryProblem(category: folder, file: Self.file, reason: "the file is missing")
        }
        for path in files.keys.sorted() where path.text.hasSuffix(".json") && path != ExactText(Self.file) {
            guard path.text.hasPrefix("cases/") else {
                throw CategoryProblem(
                    category: folder, file: path.text,
                    reason: "this file is no part of a category: it has \(Self.file), README.md and cases/*.json")
            }
        }
        let root = try JSONNode(reading: text, category: folder, file: Self.file)
        var members: [ExactText: JSONNode] = [:]
        for (name, node) in try root.members(known: Self.members) { members[name] = node }
        func lists<T>(
            _ name: ExactText, _ read: (JSONNode) throws(CategoryProblem) -> T
        ) throws(CategoryProblem) -> [T] {
            var list: [T] = []
            for element in try members[name]?.elements() ?? [] { list.append(try read(element)) }
            return list
        }
        guard let name = members["name"], let life = members["life"] else {
            throw root.problem("\"name\" and \"life\" must be there")
        }
        self.name = try Self.name(name, of: folder)
        self.life = try Self.life(life)
        removes = try members["removes"]?.distinctTexts() ?? []
        data = try members["data"].map { (node) throws(CategoryProblem) in try Self.data(node) } ?? []
        unique = try lists("unique", Self.unique)
        references = try lists("references", Self.reference)
        notBefore = try lists("not_before", Self.notBefore)
        personal = try members["personal"]?.distinctTexts() ?? []
        cases = files.filter { $0.key.text.hasPrefix("cases/") && $0.key.text.hasSuffix(".json") }
            .map { (String($0.key.text.dropFirst("cases/".count)), $0.value) }.sorted { $0.0 < $1.0 }
        content = root.tree
        canonical = content.canonical
    }

    /// The place of a member of `category.json`, for messages.
    func problem(at pointer: JSONPointer, _ reason: String) -> CategoryProblem {
        CategoryProblem(category: name.text, file: Self.file, pointer: pointer, reason: reason)
    }
}
