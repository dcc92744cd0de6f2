import Categories
import LedgerCore

/// The data of one type of events as a schema: what the category declares for them, and in words
/// what no schema can say.
struct DocumentedData: Sendable {
    let definition: CategoryDefinition
    let type: ExactText

    /// Whether an event without data would break the schema.
    var isNeeded: Bool {
        guard let schema = definition.schema(of: type) else { return false }
        return !schema.required.isEmpty || schema.anyOf?.allSatisfy { !$0.isEmpty } == true
            || schema.values != nil || schema.constant != nil
    }

    var schema: JSONTree {
        var schema = Self.portable(definition.content["data"]?[type] ?? [:])
        if schema["type"] == nil { schema["type"] = "object" }
        let isClosed = definition.schema(of: type)?.isClosed ?? false
        for rule in rules {
            if var property = schema["properties"]?[rule.key] {
                property.describe(rule.sentences.joined(separator: " "))
                if definition.personal.contains(rule.key) { property["x-personal"] = true }
                schema[within: "properties"][rule.key] = property
            } else if !isClosed {
                let isPersonal = definition.personal.contains(rule.key)
                let sentences = rule.sentences + (isPersonal ? ["Personal data."] : [])
                schema.describe("`\(rule.key)`: \(sentences.joined(separator: " "))")
            }
        }
        return schema
    }

    /// What the category demands of a key beside the schemas, in the order of its file.
    private var rules: [(key: ExactText, sentences: [String])] {
        var rules: [(key: ExactText, sentences: [String])] = []
        func add(_ key: ExactText, _ sentence: String?) {
            if !rules.contains(where: { $0.key == key }) { rules.append((key, [])) }
            guard let sentence, let index = rules.firstIndex(where: { $0.key == key }) else { return }
            rules[index].sentences.append(sentence)
        }
        for rule in definition.unique {
            let compared = rule.ignoringCase ? ", whatever the case of its ASCII letters" : ""
            add(rule.key, "No two streams of the category have the same value\(compared).")
        }
        for rule in definition.references {
            add(rule.key, "The id of a stream of the category `\(rule.category)`, which must exist.")
        }
        for rule in definition.notBefore { add(rule.key, "Not before `\(rule.other)`.") }
        for key in definition.personal { add(key, nil) }
        return rules
    }

    /// The schema with its patterns as its readers understand them. Of a pattern that only Postgres
    /// understands, the description tells.
    private static func portable(_ schema: JSONTree) -> JSONTree {
        var portable = schema
        if case .string(let pattern)? = schema["pattern"] {
            if let text = PortablePattern.of(pattern.text) {
                portable["pattern"] = .string(ExactText(text))
            } else {
                portable["pattern"] = nil
                portable.describe("It matches this regular expression of Postgres: \(code(pattern.text))")
            }
        }
        for member in schema["properties"]?.members ?? [] {
            portable[within: "properties"][member.name] = Self.portable(member.value)
        }
        if let items = schema["items"] { portable["items"] = Self.portable(items) }
        return portable
    }

    /// A text as code in Markdown, behind a fence that is longer than any in it.
    private static func code(_ text: String) -> String {
        var fence = "`"
        while text.contains(fence) { fence += "`" }
        return fence.utf8.count == 1 ? "`\(text)`" : "\(fence) \(text) \(fence)"
    }
}

extension JSONTree {
    /// Adds to the description of a schema.
    fileprivate mutating func describe(_ text: String) {
        guard !text.isEmpty else { return }
        guard case .string(let before)? = self["description"] else {
            self["description"] = .string(ExactText(text))
            return
        }
        self["description"] = "\(before) \(text)"
    }
}
