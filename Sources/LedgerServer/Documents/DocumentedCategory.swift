import Categories
import LedgerCore

/// A category as the service's documents describe it.
///
/// Neither a category nor a type has a dot or a capital letter in its name. So the names of schemas
/// that are made of both, such as `user.registered.Data`, are neither each other's nor those of the
/// documents themselves.
struct DocumentedCategory: Sendable {
    let definition: CategoryDefinition

    var name: String { definition.name.text }
    var types: [ExactText] { definition.types }

    /// The `type` of a type's CloudEvents.
    func cloudEventType(_ type: ExactText) -> String { "io.jobledger.\(name).\(type)" }

    // MARK: Schemas

    /// The schemas of the data, by name.
    var data: [(name: ExactText, schema: JSONTree)] {
        types.map { (Self.data(name, $0), DocumentedData(definition: definition, type: $0).schema) }
    }

    static func data(_ category: String, _ type: ExactText) -> ExactText { "\(category).\(type).Data" }

    static func reference(_ schema: ExactText) -> JSONTree {
        ["$ref": .string("#/components/schemas/\(schema)")]
    }

    /// A schema of the document, narrowed to the events of one type.
    /// - Parameters:
    ///   - base: the schema of the events of any type.
    ///   - typeName: what the event has as its `type`.
    ///   - isSent: whether the event is one to append, with its data in it.
    func narrowed(_ base: ExactText, to type: ExactText, typeName: String, isSent: Bool) -> JSONTree {
        let data = DocumentedData(definition: definition, type: type)
        return [
            "description": .string("An event `\(type)` of the category `\(name)`."),
            "type": "object",
            "allOf": [Self.reference(base)],
            // Without data they are {}.
            "required": .array(isSent && data.isNeeded ? ["type", "data"] : ["type"]),
            "properties": [
                "type": ["const": .string(ExactText(typeName))],
                "data": Self.reference(Self.data(name, type)),
            ],
        ]
    }

    // MARK: Texts

    /// The life of a stream, in words.
    var life: String {
        var sentences = ["A stream begins with \(Self.choice(definition.firstTypes))."]
        for type in types {
            let next = definition.successors(of: type)
            if !next.isEmpty {
                sentences.append("After `\(type)` comes \(Self.choice(next)).")
            } else if definition.removes.contains(type) {
                sentences.append("Nothing comes after `\(type)`, with which the stream is gone.")
            } else {
                sentences.append("Nothing comes after `\(type)`.")
            }
        }
        return sentences.joined(separator: " ")
    }

    private static func choice(_ types: [ExactText]) -> String {
        let names = types.map { "`\($0)`" }
        guard let last = names.last, names.count > 1 else { return names.first ?? "nothing" }
        return "\(names.dropLast().joined(separator: ", ")) or \(last)"
    }
}
