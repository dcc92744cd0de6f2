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
        let reading = try readEach(in: directory)
        if let problem = reading.problems.first { throw problem }
        return reading.definitions
    }

    /// What folders hold.
    package struct Reading: Sendable {
        /// Those that could be read, by name.
        package fileprivate(set) var definitions: [CategoryDefinition] = []
        /// What is wrong with the others, one problem for each.
        package fileprivate(set) var problems: [CategoryProblem] = []

        /// The names of all folders, sorted.
        package var names: [ExactText] {
            Set(definitions.map { ExactText($0.name.text) } + problems.map { ExactText($0.category) }).sorted()
        }
    }

    /// The same, but going on behind a folder that is no category.
    /// - Throws: `DefinitionFolder.Unreadable`.
    package static func readEach(in directory: String? = nil) throws -> Reading {
        var reading = Reading()
        var byName: [ExactText: CategoryDefinition] = [:]
        for (name, files) in folders(of: EmbeddedFiles.all.map { ($0.path, $0.text) }) {
            byName[name] = try CategoryDefinition(folder: name.text, files: files)
        }
        if let directory {
            for (name, files) in folders(of: try DefinitionFolder(reading: directory, of: .categories).files) {
                do throws(CategoryProblem) {
                    let definition = try CategoryDefinition(folder: name.text, files: files)
                    guard name != job || byName[name] == definition else {
                        throw definition.problem(
                            at: JSONPointer("name"),
                            """
                            the rules of jobs are a part of the ledger, and no folder can change them: take another \
                            name
                            """)
                    }
                    byName[name] = definition
                } catch {
                    reading.problems.append(error)
                    // It would have replaced the built-in one.
                    if name != job { byName[name] = nil }
                }
            }
        }
        reading.definitions = byName.values.sorted { $0.name.text < $1.name.text }
        return reading
    }

    private static func folders(of files: [(path: String, text: String)]) -> [(name: ExactText, files: Files)] {
        var folders: [ExactText: Files] = [:]
        for (path, text) in files {
            let parts = path.split(separator: "/", maxSplits: 1)
            if parts.count == 2 { folders[ExactText(parts[0]), default: [:]][ExactText(parts[1])] = text }
        }
        return folders.sorted { $0.key < $1.key }.map { (name: $0.key, files: $0.value) }
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
