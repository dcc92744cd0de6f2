import LedgerCore

/// A value that a schema describes, as SQL finds it.
struct DescribedValue {
    /// An expression of type jsonb; null where the value is missing.
    let sql: String
    /// The value as text; null for JSON's null too.
    let text: String
    /// Names the value in messages, such as `"variables"[2]."count"`; empty for all of the data.
    let path: SQLMessage
    let isRoot: Bool
    /// The members that hold personal data. Only all of the data have any.
    let personal: Set<ExactText>
    /// Whether it is personal, or a part of what is. Refusals are recorded, so none quotes it.
    let isPersonal: Bool

    /// All of the data.
    static func data(personal: [ExactText] = []) -> DescribedValue {
        DescribedValue(
            sql: "data", text: "(data #>> '{}')", path: SQLMessage(), isRoot: true, personal: Set(personal),
            isPersonal: false)
    }

    func member(_ name: ExactText) -> DescribedValue {
        let inner = sql.hasPrefix("(") ? String(sql.dropFirst().dropLast()) : sql
        return DescribedValue(
            sql: "(\(inner) -> \(QuotedSQL.literal(name)))", text: "(\(inner) ->> \(QuotedSQL.literal(name)))",
            path: path + "\(isRoot ? "" : ".")\(JSONTree.quoted(name).shortened(toBytes: 300))", isRoot: false,
            personal: [], isPersonal: isPersonal || personal.contains(name))
    }

    /// The element that a loop looks at.
    func element(_ loop: Int) -> DescribedValue {
        DescribedValue(
            sql: "item\(loop)", text: "(item\(loop) #>> '{}')",
            path: (path + "[").adding(expression: "place\(loop)") + "]", isRoot: false, personal: [],
            isPersonal: isPersonal)
    }

    /// Words behind the name of the value.
    func message(_ words: String) -> SQLMessage { (isRoot ? SQLMessage("data") : path) + words }

    /// Words behind the name of the value, and the value unless it is personal.
    func message(showing words: String) -> SQLMessage {
        isPersonal ? message(words) : message("\(words), not ").adding(expression: "excerpt(\(sql))")
    }

    /// `condition`, which may fail for a value of another type, where the value is of this one.
    /// - Parameter schema: the value's. Where it allows one type alone, the rule before has seen to
    ///   it.
    func ifType(_ type: DataSchema.Kind, _ schema: DataSchema, _ condition: String) -> String {
        let isSure = type == .number ? schema.isOnly(.number, .integer) : schema.isOnly(type) || isRoot
        return isSure ? condition : "CASE jsonb_typeof(\(sql)) WHEN '\(type.rawValue)' THEN \(condition) END"
    }
}

/// The rules of a schema without those for elements of arrays: conditions under which something is
/// wrong, and what is to be said then. A condition is null where the value is missing.
struct SchemaRules {
    struct Rule {
        let condition: String
        let message: SQLMessage
    }

    /// An array whose elements have a schema.
    struct Loop {
        let array: DescribedValue
        let schema: DataSchema
    }

    private(set) var rules: [Rule] = []
    private(set) var loops: [Loop] = []

    init(of schema: DataSchema, at value: DescribedValue) { add(schema, value) }

    mutating func add(_ condition: String, _ message: SQLMessage) {
        rules.append(Rule(condition: condition, message: message))
    }

    private mutating func add(_ schema: DataSchema, _ value: DescribedValue) {
        addKinds(schema, value)
        addValues(schema, value)
        if schema.allows(.string) { addTexts(schema, value) }
        if schema.allows(.integer) { addNumbers(schema, value) }
        if schema.allows(.object) { addObjects(schema, value) }
        if schema.allows(.array) { addArrays(schema, value) }
    }

    private mutating func addKinds(_ schema: DataSchema, _ value: DescribedValue) {
        // That data are an object has been looked at before.
        guard let kinds = schema.kinds, !value.isRoot else { return }
        var types: [String] = []
        for kind in kinds {
            let type = kind == .integer ? "number" : kind.rawValue
            if !types.contains(type) { types.append(type) }
        }
        let message = value.message(showing: " must be \(schema.wanted)")
        let list = types.map { "'\($0)'" }.joined(separator: ", ")
        add("jsonb_typeof(\(value.sql)) \(types.count == 1 ? "<> \(list)" : "NOT IN (\(list))")", message)
        if kinds.contains(.integer), !kinds.contains(.number) {
            // 1.0 is an integer.
            add(value.ifType(.number, schema, "\(value.sql)::numeric <> trunc(\(value.sql)::numeric)"), message)
        }
    }

    private mutating func addValues(_ schema: DataSchema, _ value: DescribedValue) {
        if let values = schema.values {
            add(
                "\(value.sql) NOT IN (\(values.map(QuotedSQL.jsonb).joined(separator: ", ")))",
                value.message(showing: " must be \(DataSchema.oneOf(values))"))
        }
        if let constant = schema.constant {
            add(
                "\(value.sql) <> \(QuotedSQL.jsonb(constant))",
                value.message(showing: " must be \(DataSchema.shown(constant))"))
        }
    }

    private mutating func addTexts(_ schema: DataSchema, _ value: DescribedValue) {
        // As text, null is null, and a condition about it is not true.
        let guarding = schema.isOnly(.string, .null) ? "" : "jsonb_typeof(\(value.sql)) = 'string' AND "
        if let words = schema.characters {
            add(
                guarding + Self.outside("length(\(value.text))", schema.minLength, schema.maxLength),
                value.message(showing: " must have \(words)"))
        }
        if let format = schema.format {
            add(
                "\(guarding)NOT \(format.function)(\(value.text))",
                value.message(showing: " must be \(format.words)"))
        }
        if let pattern = schema.pattern {
            // What \w and the like mean must not depend on the database.
            add(
                "\(guarding)\(value.text) COLLATE \"C\" !~ \(QuotedSQL.literal(pattern))",
                value.message(showing: " must match the pattern \(pattern.shortened(toBytes: 100))"))
        }
    }

    private mutating func addNumbers(_ schema: DataSchema, _ value: DescribedValue) {
        guard let range = schema.range else { return }
        let limits =
            (schema.minimum.map { ["\(value.sql) < \(QuotedSQL.jsonb($0))"] } ?? [])
            + (schema.maximum.map { ["\(value.sql) > \(QuotedSQL.jsonb($0))"] } ?? [])
        let words = range.hasPrefix("of ") ? String(range.dropFirst(3)) : range
        add(
            value.ifType(.number, schema, limits.joined(separator: " OR ")),
            value.message(showing: " must be \(words)"))
    }

    private mutating func addObjects(_ schema: DataSchema, _ value: DescribedValue) {
        for key in schema.required {
            let member = value.member(key)
            let wanted = schema.property(key).map { ": it must be \($0.wanted)" } ?? ""
            add(
                value.ifType(.object, schema, "NOT \(value.sql) ? \(QuotedSQL.literal(key))"),
                member.message(" is missing\(wanted)"))
        }
        if let alternatives = schema.anyOf, !alternatives.contains([]) {
            let present = alternatives.map { keys in
                keys.count == 1
                    ? "\(value.sql) ? \(QuotedSQL.literal(keys[0]))" : "\(value.sql) ?& \(QuotedSQL.array(keys))"
            }
            let words = DataSchema.list(alternatives.map { DataSchema.keys($0, "and") }, "or")
            add(
                value.ifType(.object, schema, "NOT (\(present.joined(separator: " OR ")))"),
                value.message(" must have \(words)"))
        }
        if schema.isClosed {
            let known = schema.properties.map(\.name)
            let array = QuotedSQL.array(known)
            let words =
                known.isEmpty
                ? "no member may be there" : "known are \(DataSchema.keys(Array(known.prefix(20)), "and"))"
            var message = value.isRoot ? SQLMessage() : value.path + ": "
            if value.isPersonal {
                message.add("a member")
            } else {
                message.add(expression: "first_other_key(\(value.sql), \(array))")
            }
            message.add(" is not known; \(words)\(known.count > 20 ? " and \(known.count - 20) others" : "")")
            add(value.ifType(.object, schema, "\(value.sql) - \(array) <> '{}'"), message)
        }
        for property in schema.properties { add(property.schema, value.member(property.name)) }
    }

    private mutating func addArrays(_ schema: DataSchema, _ value: DescribedValue) {
        if let words = schema.elements {
            let count = "jsonb_array_length(\(value.sql))"
            add(
                value.ifType(.array, schema, Self.outside(count, schema.minItems, schema.maxItems)),
                value.message(" must have \(words), not ").adding(expression: count))
        }
        if case .each(let items) = schema.items { loops.append(Loop(array: value, schema: items)) }
    }

    private static func outside(_ count: String, _ least: Int?, _ most: Int?) -> String {
        switch (least ?? 0, most) {
        case (let least, nil): "\(count) < \(least)"
        case (0, let most?): "\(count) > \(most)"
        case (let least, let most?): "\(count) NOT BETWEEN \(least) AND \(most)"
        }
    }
}
