import LedgerCore
import LedgerTesting

@testable import Categories

/// Random schemas of the subset, and values of which about half have them.
struct RandomSchemas {
    var random: SeededGenerator

    /// Keys that hurt where they are not quoted.
    static let keys: [ExactText] = [
        "a", "b", "it's", "q\"q", "back\\slash", "$$", "$1", "é", "e\u{301}", "%s", "; DROP TABLE events --", "",
        "line\nfeed", "😀", "type", "data", "0",
    ]
    static let texts: [String] = [
        "", "a", "abc", "it's", "\\", "$$", "é", "e\u{301}", "😀😀", "line\nfeed", "  ", "x y", "123", "%", "a@b.c",
        "a@b@c",
        "@b", "https://x.y/z?q", "no scheme", "u:x", "2026-01-31", "2026-02-29", "2024-02-29", "0000-01-01",
        "2026-01-31T12:00:00Z", "2026-01-31T12:00:00", "2016-12-31T23:59:60Z", "2016-12-31T23:59:60+01:00",
        "2026-01-31t08:00:00.123456789-08:30", "2026-01-31T24:00:00Z", "123e4567-e89b-12d3-a456-426614174000",
        "123e4567-e89b-12d3-a456-42661417400g", "a\u{A0}@b.c", "u:\u{2003}x",
    ]
    static let patterns: [String: @Sendable (String) -> Bool] = [
        "^[a-z]+$": { !$0.isEmpty && $0.unicodeScalars.allSatisfy { ("a"..."z").contains($0) } },
        "'": { $0.contains("'") },
        "\\\\": { $0.contains("\\") },
        "\\$\\$": { $0.contains("$$") },
        "é": { $0.unicodeScalars.contains("é") },
        "^..$": { $0.unicodeScalars.count == 2 },
        "[0-9]{3}|%": { text in
            text.contains("%")
                || zip(text.unicodeScalars, zip(text.unicodeScalars.dropFirst(), text.unicodeScalars.dropFirst(2)))
                    .contains { first, others in [first, others.0, others.1].allSatisfy { ("0"..."9").contains($0) } }
        },
        "\\A\\Z|\\n": { $0.isEmpty || $0.contains("\n") },
    ]

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func one<T>(of choices: [T]) -> T { choices[Int(random.below(UInt64(choices.count)))] }
    mutating func happens(_ percent: UInt64) -> Bool { random.below(100) < percent }

    private func object(_ members: [(ExactText, JSONTree)]) -> JSONTree {
        .object(members.map { JSONTree.Member(name: $0.0, value: $0.1) })
    }

    private func number(_ value: Int) -> JSONTree { .number(JSONNumber(String(value))!) }

    // MARK: Schemas

    /// A schema of an event's data.
    mutating func root() -> JSONTree {
        var members = objectKeywords(depth: 0)
        if happens(70) { members.append(("type", .string("object"))) }
        return object(members)
    }

    private mutating func schema(depth: Int) -> JSONTree {
        var members: [(ExactText, JSONTree)] = []
        let kinds = ["object", "array", "string", "number", "integer", "boolean", "null"].map { ExactText($0) }
        var chosen: [ExactText] = []
        for _ in 0...random.below(3) {
            let kind = one(of: kinds)
            if !chosen.contains(kind) { chosen.append(kind) }
        }
        if happens(85) {
            members.append(("type", chosen.count == 1 ? .string(chosen[0]) : .array(chosen.map { .string($0) })))
        }
        if happens(50) || chosen.contains("string") { members += textKeywords() }
        if chosen.contains("number") || chosen.contains("integer") || happens(10) { members += numberKeywords() }
        if depth < 3, chosen.contains("object") || happens(10) { members += objectKeywords(depth: depth) }
        if depth < 3, chosen.contains("array") || happens(10) { members += arrayKeywords(depth: depth) }
        if happens(8) { members.append(("enum", .array(distinct((0...random.below(3)).map { _ in value(depth: 2) })))) }
        if happens(3) { members.append(("const", value(depth: 2))) }
        if happens(5) { members.append(("description", .string("It's \\ $$ 'so'"))) }
        return object(members)
    }

    private func distinct(_ values: [JSONTree]) -> [JSONTree] {
        var kept: [JSONTree] = []
        for value in values where !kept.contains(where: { $0.canonical == value.canonical }) { kept.append(value) }
        return kept
    }

    private mutating func textKeywords() -> [(ExactText, JSONTree)] {
        var members: [(ExactText, JSONTree)] = []
        if happens(30) { members.append(("minLength", number(one(of: [0, 1, 2, 3])))) }
        if happens(30) { members.append(("maxLength", number(one(of: [0, 1, 2, 3, 12])))) }
        if happens(25) { members.append(("pattern", .string(ExactText(one(of: Self.patterns.keys.sorted()))))) }
        if happens(25) {
            members.append(("format", .string(ExactText(one(of: DataSchema.Format.allCases).rawValue))))
        }
        return members
    }

    private mutating func numberKeywords() -> [(ExactText, JSONTree)] {
        var members: [(ExactText, JSONTree)] = []
        if happens(50) { members.append(("minimum", numeric())) }
        if happens(50) { members.append(("maximum", numeric())) }
        return members
    }

    private mutating func objectKeywords(depth: Int) -> [(ExactText, JSONTree)] {
        var members: [(ExactText, JSONTree)] = []
        var properties: [(ExactText, JSONTree)] = []
        for _ in 0..<random.below(5) {
            let key = one(of: Self.keys)
            if !properties.contains(where: { $0.0 == key }) { properties.append((key, schema(depth: depth + 1))) }
        }
        if !properties.isEmpty || happens(20) { members.append(("properties", object(properties))) }
        if happens(40) { members.append(("additionalProperties", .bool(happens(30)))) }
        let names = properties.map(\.0)
        if !names.isEmpty, happens(40) { members.append(("required", .array([.string(one(of: names))]))) }
        if names.count > 1, happens(25) {
            let alternatives = [[names[0]], Array(names[1...])]
            members.append(
                ("anyOf", .array(alternatives.map { object([("required", .array($0.map { .string($0) }))]) })))
        }
        return members
    }

    private mutating func arrayKeywords(depth: Int) -> [(ExactText, JSONTree)] {
        var members: [(ExactText, JSONTree)] = []
        if happens(20) { members.append(("minItems", number(Int(random.below(3))))) }
        if happens(20) { members.append(("maxItems", number(Int(random.below(4))))) }
        if happens(70) { members.append(("items", schema(depth: depth + 1))) }
        return members
    }

    // MARK: Values

    private mutating func numeric() -> JSONTree {
        .number(JSONNumber(one(of: ["0", "1", "-1", "1.0", "1.5", "2", "3", "10", "-2.25", "1e3", "2147483648"]))!)
    }

    /// Any value.
    mutating func value(depth: Int) -> JSONTree {
        switch random.below(depth < 3 ? 9 : 6) {
        case 0: return .null
        case 1: return .bool(happens(50))
        case 2, 3: return numeric()
        case 4, 5: return .string(ExactText(one(of: Self.texts)))
        case 6: return .array((0..<random.below(4)).map { _ in value(depth: depth + 1) })
        default:
            var members: [(ExactText, JSONTree)] = []
            for _ in 0..<random.below(4) {
                let key = one(of: Self.keys)
                if !members.contains(where: { $0.0 == key }) { members.append((key, value(depth: depth + 1))) }
            }
            return object(members)
        }
    }

    /// A value that has the schema more often than not.
    mutating func value(like schema: JSONTree, depth: Int = 0) -> JSONTree {
        if happens(4) { return value(depth: depth) }
        if let constant = schema["const"] { return constant }
        if case .array(let values)? = schema["enum"] { return one(of: values) }
        let kind: ExactText? =
            switch schema["type"] {
            case .string(let kind)?: kind
            case .array(let kinds)?: if case .string(let kind) = one(of: kinds) { kind } else { nil }
            default: depth == 0 ? "object" : nil
            }
        switch kind {
        case "object"?: return self.object(like: schema, depth: depth)
        case "array"?:
            let count = random.below(4)
            return .array((0..<count).map { _ in value(like: schema["items"] ?? .object([]), depth: depth + 1) })
        case "string"?: return .string(ExactText(one(of: Self.texts)))
        case "number"?: return numeric()
        case "integer"?: return number(Int(random.below(12)))
        case "boolean"?: return .bool(happens(50))
        case "null"?: return .null
        default: return value(depth: depth)
        }
    }

    private mutating func object(like schema: JSONTree, depth: Int) -> JSONTree {
        var members: [(ExactText, JSONTree)] = []
        if case .object(let properties)? = schema["properties"] {
            for property in properties where happens(75) {
                members.append((property.name, value(like: property.value, depth: depth + 1)))
            }
        }
        if happens(10) {
            let key = one(of: Self.keys)
            if !members.contains(where: { $0.0 == key }) { members.append((key, value(depth: depth + 1))) }
        }
        return object(members)
    }
}
