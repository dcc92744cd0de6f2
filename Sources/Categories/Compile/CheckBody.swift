import LedgerCore

extension CategoryDefinition {
    /// The body of `check_of_NAME(type text, data jsonb) RETURNS text` in PL/pgSQL: null where
    /// the data are right, otherwise what is wrong with them.
    package var checkBody: String { CheckBody(self).text }
}

/// Compiles schemas to one function.
///
/// PL/pgSQL prepares each expression anew in each transaction. So each type has one expression that
/// finds the number of the first broken rule, and a second one, which makes the text, that is only
/// reached where a rule is broken. Elements of arrays are looked at one by one, and each nesting of
/// arrays is a loop.
private struct CheckBody {
    private var lines: [String] = []
    /// The deepest nesting of loops.
    private var loops = 0

    init(_ definition: CategoryDefinition) {
        for (index, type) in definition.types.enumerated() {
            lines.append("  \(index == 0 ? "IF" : "ELSIF") type = \(QuotedSQL.literal(type)) THEN")
            let schema = definition.schema(of: type)
            let data = DescribedValue.data(personal: definition.personal)
            var rules = SchemaRules(of: schema ?? DataSchema(at: JSONPointer()), at: data)
            for rule in definition.notBefore { rules.add(rule, of: data) }
            add(rules, indent: "    ")
            lines.append("    RETURN null;")
        }
        lines.append(definition.types.isEmpty ? "  IF true THEN" : "  ELSE")
        let name = "coalesce(quote_literal(left(type, 100)), 'null')"
        let known = " is not a type of the category \(definition.name); use " + Self.types(definition)
        lines.append("    RETURN \(name) || \(QuotedSQL.literal(known));")
        lines.append("  END IF;")
    }

    private static func types(_ definition: CategoryDefinition) -> String {
        DataSchema.list(definition.types.map(\.text), "or")
    }

    var text: String {
        let variables = (0..<loops).map { "  item\($0 + 1) jsonb;\n  place\($0 + 1) integer;\n" }.joined()
        return """
            DECLARE
              wrong integer;
            \(variables)BEGIN
              IF jsonb_typeof(data) IS DISTINCT FROM 'object' THEN
                RETURN 'data must be a JSON object, not ' || coalesce(excerpt(data), 'null');
              END IF;
            \(lines.joined(separator: "\n"))
            END
            """
    }

    /// - Parameter depth: how many loops are around.
    private mutating func add(_ rules: SchemaRules, indent: String, depth: Int = 0) {
        if !rules.rules.isEmpty {
            lines.append("\(indent)wrong := CASE")
            for (index, rule) in rules.rules.enumerated() {
                lines.append("\(indent)  WHEN \(rule.condition) THEN \(index + 1)")
            }
            lines.append("\(indent)END;")
            lines.append("\(indent)IF wrong IS NOT NULL THEN")
            lines.append("\(indent)  RETURN CASE wrong")
            for (index, rule) in rules.rules.enumerated() {
                lines.append("\(indent)    WHEN \(index + 1) THEN \(rule.message.sql)")
            }
            lines.append("\(indent)  END;")
            lines.append("\(indent)END IF;")
        }
        for loop in rules.loops { add(loop, indent: indent, depth: depth + 1) }
    }

    private mutating func add(_ loop: SchemaRules.Loop, indent: String, depth: Int) {
        let inner = SchemaRules(of: loop.schema, at: loop.array.element(depth))
        guard !inner.rules.isEmpty || !inner.loops.isEmpty else { return }
        loops = max(loops, depth)
        let array = loop.array.sql
        lines.append("\(indent)IF jsonb_typeof(\(array)) = 'array' THEN")
        lines.append("\(indent)  place\(depth) := 0;")
        lines.append(
            "\(indent)  FOR item\(depth) IN SELECT elements.value FROM jsonb_array_elements(\(array)) AS elements")
        lines.append("\(indent)  LOOP")
        add(inner, indent: indent + "    ", depth: depth)
        lines.append("\(indent)    place\(depth) := place\(depth) + 1;")
        lines.append("\(indent)  END LOOP;")
        lines.append("\(indent)END IF;")
    }
}

extension SchemaRules {
    fileprivate mutating func add(_ rule: CategoryDefinition.NotBefore, of data: DescribedValue) {
        let (value, other) = (data.member(rule.key), data.member(rule.other))
        var message = SQLMessage("\(JSONTree.quoted(rule.key)) must not be before \(JSONTree.quoted(rule.other))")
        if !other.isPersonal { message = (message + ", which is ").adding(expression: "excerpt(\(other.sql))") }
        if !value.isPersonal { message = (message + ", but is ").adding(expression: "excerpt(\(value.sql))") }
        add("is_before(\(value.text), \(other.text))", message)
    }
}
