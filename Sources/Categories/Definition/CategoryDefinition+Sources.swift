import EventStore
package import LedgerCore

extension CategoryDefinition {
    /// Files of a folder, by their path in it.
    private typealias Files = [ExactText: String]

    /// The category whose rules are a part of the ledger's own SQL. Its folder describes them.
    package static let job: ExactText = "job"

    /// The built-in definitions, and those in `directory`, which replace built-in ones of the same
    /// name. All of them together are consistent.
    /// - Throws: ``CategoryProblem``, or `DefinitionFolder.Unreadable`.
    package static func all(in directory: String? = nil) throws -> [CategoryDefinition] {
        let definitions = try read(in: directory)
        if let problem = CategoryConsistency(definitions).problems.first { throw problem }
        return definitions
    }

    /// The same without the check of their consistency.
    package static func read(in directory: String? = nil) throws -> [CategoryDefinition] {
        var byName: [LedgerName: CategoryDefinition] = [:]
        for definition in try definitions(of: EmbeddedFiles.all.map { ($0.path, $0.text) }) {
            byName[definition.name] = definition
        }
        if let directory {
            let files = try DefinitionFolder(reading: directory, of: .categories).files
            for definition in try definitions(of: files) {
                guard ExactText(definition.name.text) != job || byName[definition.name] == definition else {
                    throw definition.problem(
                        at: JSONPointer("name"),
                        "the rules of jobs are a part of the ledger, and no folder can change them: take another name")
                }
                byName[definition.name] = definition
            }
        }
        return byName.values.sorted { $0.name.text < $1.name.text }
    }

    private static func definitions(of files: [(path: String, text: String)]) throws -> [CategoryDefinition] {
        var folders: [ExactText: Files] = [:]
        for (path, text) in files {
            let parts = path.split(separator: "/", maxSplits: 1)
            if parts.count == 2 { folders[ExactText(parts[0]), default: [:]][ExactText(parts[1])] = text }
        }
        return try folders.sorted { $0.key < $1.key }
            .map { try CategoryDefinition(folder: $0.key.text, files: $0.value) }
    }

    /// The definitions, each behind those that it refers to.
    /// - Parameter definitions: consistent ones.
    static func inOrderOfReferences(_ definitions: [CategoryDefinition]) -> [CategoryDefinition] {
        var ordered: [CategoryDefinition] = []
        var waiting = definitions
        while !waiting.isEmpty {
            let ready = waiting.filter { definition in
                !definition.references.contains { reference in
                    waiting.contains { $0.name != definition.name && ExactText($0.name.text) == reference.category }
                }
            }
            // Consistent definitions do not refer to each other in a circle.
            guard !ready.isEmpty else { return ordered + waiting }
            ordered += ready
            waiting.removeAll { definition in ready.contains { $0.name == definition.name } }
        }
        return ordered
    }
}
