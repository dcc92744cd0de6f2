import Categories
import LedgerCore

/// The OpenAPI document of a ledger: the one that ships, and a part for each of its categories.
enum OpenAPIDocument {
    private static let events: ExactText = "/v1/streams/{category}/{id}/events"
    /// The parameter that filters events by type.
    private static let anyTypes: ExactText = "stream_type"

    private static func types(of category: DocumentedCategory) -> ExactText { "\(category.name).type" }

    /// - Parameters:
    ///   - base: the document that ships.
    ///   - names: of all categories that the ledger has.
    ///   - categories: those that are described.
    static func whole(_ base: JSONTree, names: [String], categories: [DocumentedCategory]) -> JSONTree {
        var document = base
        document[within: "components"][within: "parameters"][within: "category"]["schema"] = [
            "type": "string", "enum": .array(names.map { .string(ExactText($0)) }),
        ]
        var paths = document[within: "paths"]
        var schemas = document[within: "components"][within: "schemas"]
        var parameters = document[within: "components"][within: "parameters"]
        for category in categories {
            paths["/v1/streams/\(category.name)/{id}/events"] = path(of: category, generic: paths[within: events])
            for (name, schema) in Self.schemas(of: category) { schemas[name] = schema }
            var filter = parameters[within: anyTypes]
            filter[within: "schema"]["items"] = ["enum": .array(category.types.map { .string($0) })]
            parameters[types(of: category)] = filter
        }
        document["paths"] = paths
        document[within: "components"]["schemas"] = schemas
        document[within: "components"]["parameters"] = parameters
        return document
    }

    // MARK: Schemas

    /// The ways in which an event is in a request or an answer, by the schema of any event that it
    /// narrows.
    private enum Form: String, CaseIterable {
        case sent = "NewEvent"
        case sentCloudEvent = "NewCloudEvent"
        case read = "Event"

        var base: ExactText {
            switch self {
            case .sent: "NewStreamEvent"
            case .sentCloudEvent: "NewStreamCloudEvent"
            case .read: "Event"
            }
        }

        func name(_ category: DocumentedCategory, _ type: ExactText? = nil) -> ExactText {
            "\(category.name).\(type.map { "\($0)." } ?? "")\(rawValue)"
        }

        func typeName(_ category: DocumentedCategory, _ type: ExactText) -> String {
            self == .sent ? type.text : category.cloudEventType(type)
        }
    }

    private static func schemas(of category: DocumentedCategory) -> [(name: ExactText, schema: JSONTree)] {
        var schemas = category.data
        for form in Form.allCases {
            for type in category.types {
                let schema = category.narrowed(
                    form.base, to: type, typeName: form.typeName(category, type), isSent: form != .read)
                schemas.append((form.name(category, type), schema))
            }
        }
        return schemas + Form.allCases.map { ($0.name(category), anyType($0, of: category)) }
    }

    /// An event of any type of the category.
    private static func anyType(_ form: Form, of category: DocumentedCategory) -> JSONTree {
        let references = category.types.map { DocumentedCategory.reference(form.name(category, $0)) }
        let mapping = category.types.map { type in
            JSONTree.Member(
                name: ExactText(form.typeName(category, type)),
                value: "#/components/schemas/\(form.name(category, type))")
        }
        return [
            "description": .string("An event of the category `\(category.name)`. \(category.life)"),
            "oneOf": .array(references),
            "discriminator": ["propertyName": "type", "mapping": .object(mapping)],
        ]
    }

    // MARK: Paths

    /// The path of the events of a category's streams: that of any category, with the category's
    /// own events.
    private static func path(of category: DocumentedCategory, generic: JSONTree) -> JSONTree {
        func parameter(_ name: ExactText) -> ExactText { "#/components/parameters/\(name)" }
        let names =
            Form.allCases.map { (reference(to: $0.base), reference(to: $0.name(category))) }
            + [(parameter(anyTypes), parameter(types(of: category)))]
        var item = generic.replacing(Dictionary(uniqueKeysWithValues: names))
        item["parameters"] = [["$ref": "#/components/parameters/stream"]]
        for (method, summary) in [
            ("post", "Append one event to a stream of the category \(category.name), or several: all or none"),
            ("get", "The events of a stream of the category \(category.name), as pages or as a stream"),
        ] as [(ExactText, JSONTree)] {
            var operation = item[within: method]
            if case .string(let id)? = operation["operationId"] {
                operation["operationId"] = "\(id)_\(category.name)"
            }
            operation["summary"] = summary
            operation["description"] = .string(ExactText(category.life))
            item[method] = operation
        }
        return item
    }

    private static func reference(to schema: ExactText) -> ExactText { "#/components/schemas/\(schema)" }
}

extension JSONTree {
    /// The same with other addresses in its `$ref`.
    fileprivate func replacing(_ addresses: [ExactText: ExactText]) -> JSONTree {
        switch self {
        case .object(let members):
            .object(
                members.map { member in
                    if member.name == "$ref", case .string(let address) = member.value {
                        Member(name: member.name, value: .string(addresses[address] ?? address))
                    } else {
                        Member(name: member.name, value: member.value.replacing(addresses))
                    }
                })
        case .array(let elements): .array(elements.map { $0.replacing(addresses) })
        default: self
        }
    }
}
