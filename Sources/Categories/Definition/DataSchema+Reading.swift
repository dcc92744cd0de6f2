import LedgerCore

/// Whatever is outside of the subset is refused, with its place: a rule that is ignored looks like
/// one that holds.
extension DataSchema {
    private enum Keyword: String, CaseIterable {
        case type, required, properties, additionalProperties, minLength, maxLength, pattern, format
        case values = "enum"
        case const, minimum, maximum, items, minItems, maxItems, anyOf, description, title
        case comment = "$comment"
    }

    /// The limit of schemas within schemas.
    static let deepest = 16
    /// In bytes.
    static let longestPattern = 1_000

    init(reading node: JSONNode, depth: Int = 1) throws(CategoryProblem) {
        self.init(at: node.pointer)
        guard depth <= Self.deepest else {
            throw node.problem("schemas are nested more than \(Self.deepest) levels deep: describe less of the data")
        }
        for (name, node) in try node.members() {
            guard let keyword = Keyword(rawValue: name.text) else {
                throw node.problem(
                    """
                    \(JSONTree.quoted(name)) is not a word of the schemas that the ledger enforces; these are \
                    \(Keyword.allCases.map(\.rawValue).joined(separator: ", "))
                    """)
            }
            try read(keyword, node, depth: depth)
        }
    }

    private mutating func read(_ keyword: Keyword, _ node: JSONNode, depth: Int) throws(CategoryProblem) {
        switch keyword {
        case .type: kinds = try Self.kinds(node)
        case .values: values = try Self.values(node)
        case .const: constant = node.tree
        case .minLength: minLength = try node.count()
        case .maxLength: maxLength = try node.count()
        case .pattern: pattern = try Self.pattern(node)
        case .format: format = try Self.format(node)
        case .minimum: minimum = try node.number()
        case .maximum: maximum = try node.number()
        case .required: required = try node.distinctTexts()
        case .properties:
            for (name, node) in try node.members() {
                properties.append(Property(name: name, schema: try DataSchema(reading: node, depth: depth + 1)))
            }
        case .additionalProperties:
            guard case .bool(let isOpen) = node.tree else {
                throw node.problem("this can only be true or false; a schema for unknown members is outside the subset")
            }
            isClosed = !isOpen
        case .items: items = .each(try DataSchema(reading: node, depth: depth + 1))
        case .minItems: minItems = try node.count()
        case .maxItems: maxItems = try node.count()
        case .anyOf: anyOf = try Self.alternatives(node)
        case .description, .title, .comment: _ = try node.text()
        }
    }

    private static func kinds(_ node: JSONNode) throws(CategoryProblem) -> [Kind] {
        func kind(_ node: JSONNode) throws(CategoryProblem) -> Kind {
            guard case .string(let name) = node.tree, let kind = Kind(rawValue: name.text) else {
                throw node.mustBe("one of " + Kind.allCases.map(\.rawValue).joined(separator: ", "))
            }
            return kind
        }
        guard case .array(let elements) = node.tree else { return [try kind(node)] }
        guard !elements.isEmpty else { throw node.problem("no value has none of the types: name one") }
        var kinds: [Kind] = []
        for element in try node.elements() {
            let kind = try kind(element)
            guard !kinds.contains(kind) else { throw element.problem("\"\(kind.rawValue)\" appears twice") }
            kinds.append(kind)
        }
        return kinds
    }

    private static func values(_ node: JSONNode) throws(CategoryProblem) -> [JSONTree] {
        var known: Set<ExactText> = []
        var values: [JSONTree] = []
        for element in try node.elements() {
            guard known.insert(ExactText(element.tree.canonical)).inserted else {
                throw element.problem("\(element.tree.canonical.shortened(toBytes: 60)) appears twice")
            }
            values.append(element.tree)
        }
        guard !values.isEmpty else { throw node.problem("no value is one of none: name one at least") }
        return values
    }

    private static func format(_ node: JSONNode) throws(CategoryProblem) -> Format {
        guard case .string(let name) = node.tree, let format = Format(rawValue: name.text) else {
            throw node.mustBe("one of " + Format.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return format
    }

    private static func alternatives(_ node: JSONNode) throws(CategoryProblem) -> [[ExactText]] {
        var alternatives: [[ExactText]] = []
        for element in try node.elements() {
            let members = try element.members()
            guard members.count == 1, let (name, keys) = members.first, name == "required" else {
                throw element.problem("each alternative must be {\"required\": [keys]}, and nothing else")
            }
            alternatives.append(try keys.distinctTexts())
        }
        guard !alternatives.isEmpty else { throw node.problem("there must be one alternative at least") }
        return alternatives
    }

    /// The time that a match takes grows with the text alone, unless the pattern looks back at what
    /// it has matched, or ahead from each place. Such patterns are refused.
    private static func pattern(_ node: JSONNode) throws(CategoryProblem) -> String {
        let pattern = try node.text().text
        guard pattern.utf8.count <= longestPattern else {
            throw node.problem("the pattern has \(pattern.utf8.count) bytes, and the limit is \(longestPattern)")
        }
        var rest = Array(pattern.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), let escaped = rest.popFirst(), ("1"..."9").contains(Unicode.Scalar(escaped))
            {
                throw node.problem(
                    "the pattern has the back reference \\\(Unicode.Scalar(escaped)), which may take forever to match")
            }
            if byte == UInt8(ascii: "("), ["?=", "?!", "?<"].contains(where: { rest.starts(with: $0.utf8) }) {
                throw node.problem("the pattern looks ahead or behind with (?=, (?!, (?<: that may take forever")
            }
        }
        return pattern
    }
}
