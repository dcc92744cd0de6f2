package import LedgerCore

/// Finds categories that contradict themselves or each other: rules that nothing could ever follow,
/// and names that mean nothing.
package struct CategoryConsistency: Sendable {
    /// Everything that is wrong, in the order of the files.
    package private(set) var problems: [CategoryProblem] = []

    /// - Parameters:
    ///   - definitions: what is checked.
    ///   - known: further categories that references may name.
    package init(_ definitions: [CategoryDefinition], knowing known: Set<ExactText> = []) {
        let names = Set(definitions.map { ExactText($0.name.text) }).union(known)
        for definition in definitions {
            var check = DefinitionCheck(definition)
            check.run(knowing: names)
            problems += check.problems
        }
        if problems.isEmpty { problems += Self.circle(definitions) }
    }

    /// Categories that refer to each other in a circle cannot be installed one after the other, and
    /// a first stream of one of them may need a stream of the other.
    private static func circle(_ definitions: [CategoryDefinition]) -> [CategoryProblem] {
        var rest = definitions
        while true {
            let free = rest.firstIndex { definition in
                !definition.references.contains { reference in
                    rest.contains { $0.name != definition.name && ExactText($0.name.text) == reference.category }
                }
            }
            guard let free else { break }
            rest.remove(at: free)
        }
        // What is left is a circle, or refers to one. Whoever is referred to by the rest is in it.
        for definition in rest {
            for (index, reference) in definition.references.enumerated() {
                guard let other = rest.first(where: { ExactText($0.name.text) == reference.category }),
                    other.name != definition.name, Self.leads(from: other, to: definition, in: rest)
                else { continue }
                return [
                    definition.problem(
                        at: JSONPointer("references") / index / "category",
                        """
                        the categories \(definition.name) and \(other.name) refer to each other in a circle: leave one \
                        of the references out
                        """)
                ]
            }
        }
        return []
    }

    private static func leads(
        from start: CategoryDefinition, to end: CategoryDefinition, in definitions: [CategoryDefinition]
    ) -> Bool {
        var reached: Set<ExactText> = []
        var waiting = [ExactText(start.name.text)]
        while let name = waiting.popLast() {
            guard reached.insert(name).inserted else { continue }
            guard let definition = definitions.first(where: { ExactText($0.name.text) == name }) else { continue }
            waiting += definition.references.map(\.category)
        }
        return reached.contains(ExactText(end.name.text))
    }
}

/// The check of one definition.
struct DefinitionCheck {
    let definition: CategoryDefinition
    private(set) var problems: [CategoryProblem] = []

    init(_ definition: CategoryDefinition) { self.definition = definition }

    mutating func find(at pointer: JSONPointer, _ reason: String) {
        problems.append(definition.problem(at: pointer, reason))
    }

    mutating func run(knowing categories: Set<ExactText>) {
        checkLife()
        checkData()
        checkRules(knowing: categories)
    }

    // MARK: Life

    private mutating func checkLife() {
        let life = JSONPointer("life")
        guard definition.life.contains(where: { $0.type == nil }) else {
            return find(at: life, "there is no \"\": it lists the types of which a stream's first event can be")
        }
        if definition.firstTypes.isEmpty {
            find(at: life / "", "no stream can ever begin: name the types of which a first event can be")
        }
        for row in definition.life {
            let place = life / (row.type ?? "")
            for (index, next) in row.next.enumerated() where !definition.types.contains(next) {
                find(
                    at: place / index,
                    "\(JSONTree.quoted(next)) is no type of this category: make it a key of \"life\", or take it out")
            }
        }
        // Without a first type none can be reached, which has been said.
        let reachable = definition.firstTypes.isEmpty ? Set(definition.types) : reachableTypes
        for type in definition.types where !reachable.contains(type) {
            find(
                at: life / type,
                "no stream ever gets to \"\(type)\": it follows no type that a stream can get to from \"\"")
        }
        checkRemoves()
    }

    private var reachableTypes: Set<ExactText> {
        var reachable: Set<ExactText> = []
        var waiting = definition.firstTypes
        while let type = waiting.popLast() {
            if reachable.insert(type).inserted { waiting += definition.successors(of: type) }
        }
        return reachable
    }

    private mutating func checkRemoves() {
        for (index, type) in definition.removes.enumerated() {
            let place = JSONPointer("removes") / index
            if !definition.types.contains(type) {
                find(at: place, "\(JSONTree.quoted(type)) is no type of this category")
            } else if !definition.successors(of: type).isEmpty {
                find(
                    at: place,
                    """
                    a stream is gone behind \"\(type)\", and yet \
                    \(DataSchema.keys(definition.successors(of: type), "or")) may follow it: the type must have no \
                    successors
                    """)
            }
        }
    }

    // MARK: Data

    private mutating func checkData() {
        for (type, schema) in definition.data {
            if !definition.types.contains(type) {
                find(
                    at: schema.pointer, "\(JSONTree.quoted(type)) is no type of this category: \"life\" has no such key"
                )
            }
            if !schema.allows(.object) {
                find(at: schema.pointer / "type", "data are always an object, and this allows none")
            }
            for (pointer, reason) in schema.all.flatMap(\.contradictions) { find(at: pointer, reason) }
        }
    }
}
