import LedgerCore

extension CategoryDefinition {
    static let members: [ExactText] = [
        "name", "life", "removes", "data", "unique", "references", "not_before", "personal",
    ]

    /// The limit of schemas in one category: each becomes a part of one function.
    static let mostSchemas = 2_000

    static func name(_ node: JSONNode, of folder: String) throws(CategoryProblem) -> LedgerName {
        let text = try node.text().text
        guard let name = LedgerName(text), Category(text) != nil else {
            throw node.mustBe("1 to 50 of a–z, 0–9 and _, and begin with a letter, but not with pg_")
        }
        guard ExactText(text) == ExactText(folder) else {
            throw node.mustBe("the folder's name, \"\(folder)\"")
        }
        return name
    }

    /// `[a-z][a-z0-9_]*`, at most 63 bytes.
    static func isType(_ name: ExactText) -> Bool {
        let small = UInt8(ascii: "a")...UInt8(ascii: "z")
        return (1...63).contains(name.utf8.count) && small.contains(name.utf8.first!)
            && name.utf8.allSatisfy { byte in
                small.contains(byte) || byte == UInt8(ascii: "_")
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            }
    }

    static func life(_ node: JSONNode) throws(CategoryProblem) -> [Successors] {
        var life: [Successors] = []
        for (type, next) in try node.members() {
            guard type.isEmpty || isType(type) else {
                throw next.problem(
                    """
                    \(JSONTree.quoted(type)) cannot be the name of a type: it has 1 to 63 of a–z, 0–9 and _, and \
                    begins with a letter
                    """)
            }
            life.append(Successors(type: type.isEmpty ? nil : type, next: try next.distinctTexts()))
        }
        return life
    }

    static func data(_ node: JSONNode) throws(CategoryProblem) -> [(type: ExactText, schema: DataSchema)] {
        var data: [(ExactText, DataSchema)] = []
        var schemas = 0
        for (type, node) in try node.members() {
            let schema = try DataSchema(reading: node)
            schemas += schema.all.count
            guard schemas <= mostSchemas else {
                throw node.problem("the category has more than \(mostSchemas) schemas: describe less of the data")
            }
            data.append((type, schema))
        }
        return data
    }

    static func unique(_ node: JSONNode) throws(CategoryProblem) -> Unique {
        let members = try Members(node, ["key"], optional: ["ignoring_case"])
        return Unique(key: try members["key"], ignoringCase: try members.node("ignoring_case")?.bool() ?? false)
    }

    static func reference(_ node: JSONNode) throws(CategoryProblem) -> Reference {
        let members = try Members(node, ["key", "category"])
        return Reference(key: try members["key"], category: try members["category"])
    }

    static func notBefore(_ node: JSONNode) throws(CategoryProblem) -> NotBefore {
        let members = try Members(node, ["key", "other"])
        return NotBefore(key: try members["key"], other: try members["other"])
    }

    /// The members of one rule: all of `required` and nothing unknown.
    private struct Members {
        private let node: JSONNode
        private let members: [(name: ExactText, node: JSONNode)]

        init(_ node: JSONNode, _ required: [ExactText], optional: [ExactText] = []) throws(CategoryProblem) {
            self.node = node
            members = try node.members(known: required + optional)
            for name in required where self.node(name) == nil { throw node.problem("\"\(name)\" is missing") }
        }

        func node(_ name: ExactText) -> JSONNode? { members.first { $0.name == name }?.node }

        subscript(name: ExactText) -> ExactText {
            get throws(CategoryProblem) {
                guard let value = node(name) else { throw node.problem("\"\(name)\" is missing") }
                return try value.text()
            }
        }
    }
}
