package import LedgerCore

/// Reads, changes and writes documents that are made from definitions. Members keep their order, so
/// the same definitions make the same document.
extension JSONTree {
    /// - Parameters:
    ///   - text: one JSON object.
    ///   - file: names the document in messages.
    package init(reading text: String, file: String) throws(CategoryProblem) {
        self = try JSONNode(reading: text, category: "", file: file).tree
    }

    /// The value on one line, with members in their own order.
    package var text: String {
        switch self {
        case .array(let elements): "[\(elements.map(\.text).joined(separator: ","))]"
        case .object(let members):
            "{\(members.map { "\(Self.quoted($0.name)):\($0.value.text)" }.joined(separator: ","))}"
        default: canonical
        }
    }

    /// The members of an object; none of another value.
    package var members: [Member] {
        if case .object(let members) = self { members } else { [] }
    }

    /// The elements of an array; none of another value.
    package var elements: [JSONTree] {
        if case .array(let elements) = self { elements } else { [] }
    }

    /// A member of an object. A new one goes to the end; `nil` removes it.
    package subscript(name: ExactText) -> JSONTree? {
        get { members.first { $0.name == name }?.value }
        set {
            var members = members
            let index = members.firstIndex { $0.name == name }
            switch (index, newValue) {
            case (let index?, let value?): members[index] = Member(name: name, value: value)
            case (let index?, nil): members.remove(at: index)
            case (nil, let value?): members.append(Member(name: name, value: value))
            case (nil, nil): break
            }
            self = .object(members)
        }
    }

    /// A member of an object that is changed within; an empty object where there is none.
    package subscript(within name: ExactText) -> JSONTree {
        get { self[name] ?? .object([]) }
        set { self[name] = newValue }
    }
}

extension JSONTree: ExpressibleByStringInterpolation, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral
{
    package init(stringLiteral text: String) { self = .string(ExactText(text)) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSONTree...) { self = .array(elements) }
    /// The members are in the order of the literal, in which no name may be twice.
    package init(dictionaryLiteral members: (ExactText, JSONTree)...) {
        self = .object(members.map { Member(name: $0.0, value: $0.1) })
    }
}
