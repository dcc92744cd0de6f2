package import LedgerCore

/// A JSON document of a category, with nothing lost: members in order, numbers exact, texts by
/// their bytes.
package enum JSONTree: Sendable, Hashable {
    package struct Member: Sendable, Hashable {
        package let name: ExactText
        package let value: JSONTree

        package init(name: ExactText, value: JSONTree) {
            self.name = name
            self.value = value
        }
    }

    case null
    case bool(Bool)
    case number(JSONNumber)
    case string(ExactText)
    case array([JSONTree])
    case object([Member])

    /// One spelling for each value: no spaces, members sorted by the bytes of their names.
    package var canonical: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .number(let number): number.description
        case .string(let text): Self.quoted(text)
        case .array(let elements): "[\(elements.map(\.canonical).joined(separator: ","))]"
        case .object(let members):
            "{"
                + members.sorted { $0.name < $1.name }.map { "\(Self.quoted($0.name)):\($0.value.canonical)" }
                .joined(separator: ",") + "}"
        }
    }

    /// The text as a JSON string.
    static func quoted(_ text: ExactText) -> String {
        var quoted = "\""
        for scalar in text.text.unicodeScalars {
            switch scalar.value {
            case 0x22: quoted += "\\\""
            case 0x5C: quoted += "\\\\"
            case 0x0A: quoted += "\\n"
            case ..<0x20, 0x7F:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}

/// A value of a definition's file with its place, so that whatever is wrong with it can be named.
struct JSONNode: Sendable {
    let tree: JSONTree
    let pointer: JSONPointer
    private let category: String
    private let file: String

    /// The size limit of a file, in bytes.
    static let mostBytes = 1 << 20
    /// The limit of nesting: that of an event's data.
    static let deepest = 128

    private init(_ tree: JSONTree, _ pointer: JSONPointer, category: String, file: String) {
        self.tree = tree
        self.pointer = pointer
        self.category = category
        self.file = file
    }

    /// Parses a file whose content is one JSON object. No object may have a member twice.
    init(reading text: String, category: String, file: String) throws(CategoryProblem) {
        self.init(.null, JSONPointer(), category: category, file: file)
        guard text.utf8.count <= Self.mostBytes else {
            throw problem("the file has \(text.utf8.count) bytes, and the limit is \(Self.mostBytes)")
        }
        let bytes = Array(text.utf8)[...]
        do {
            // Says where the syntax is wrong, in bytes of the whole file.
            _ = try JSONText.slices(of: bytes)
        } catch {
            throw problem("this is no JSON object: \(error)")
        }
        self.init(try parse(bytes), JSONPointer(), category: category, file: file)
    }

    private func child(_ tree: JSONTree, _ pointer: JSONPointer) -> JSONNode {
        JSONNode(tree, pointer, category: category, file: file)
    }

    func problem(_ reason: String) -> CategoryProblem {
        CategoryProblem(category: category, file: file, pointer: pointer, reason: reason)
    }

    // MARK: Reading

    /// The members of an object.
    /// - Parameter known: the names that a member may have; `nil` if it may have any.
    func members(known: [ExactText]? = nil) throws(CategoryProblem) -> [(name: ExactText, node: JSONNode)] {
        guard case .object(let members) = tree else { throw mustBe("an object") }
        var nodes: [(ExactText, JSONNode)] = []
        for member in members {
            let node = child(member.value, pointer / member.name)
            if let known, !known.contains(member.name) {
                throw node.problem(
                    "\(JSONTree.quoted(member.name)) is not known here; known are "
                        + known.map(\.text).joined(separator: ", "))
            }
            nodes.append((member.name, node))
        }
        return nodes
    }

    func elements() throws(CategoryProblem) -> [JSONNode] {
        guard case .array(let elements) = tree else { throw mustBe("an array") }
        return elements.enumerated().map { child($1, pointer / $0) }
    }

    func text() throws(CategoryProblem) -> ExactText {
        guard case .string(let text) = tree else { throw mustBe("a text, in quotes") }
        return text
    }

    func bool() throws(CategoryProblem) -> Bool {
        guard case .bool(let value) = tree else { throw mustBe("true or false") }
        return value
    }

    func number() throws(CategoryProblem) -> JSONNumber {
        guard case .number(let number) = tree else { throw mustBe("a number") }
        return number
    }

    /// A number of characters or elements.
    func count() throws(CategoryProblem) -> Int {
        let most = Int(Int32.max)
        guard case .number(let number) = tree, let count = number.integer, (0...most).contains(count) else {
            throw mustBe("an integer from 0 to \(most)")
        }
        return count
    }

    /// The texts of an array, none of them twice.
    func distinctTexts() throws(CategoryProblem) -> [ExactText] {
        var texts: [ExactText] = []
        for element in try elements() {
            let text = try element.text()
            guard !texts.contains(text) else { throw element.problem("\(JSONTree.quoted(text)) appears twice") }
            texts.append(text)
        }
        return texts
    }

    func mustBe(_ what: String) -> CategoryProblem {
        problem("this must be \(what), not \(tree.canonical.shortened(toBytes: 60))")
    }

    // MARK: Parsing

    private func parse(_ bytes: ArraySlice<UInt8>) throws(CategoryProblem) -> JSONTree {
        guard pointer.tokens.count <= Self.deepest else {
            throw problem("this is nested more than \(Self.deepest) levels deep")
        }
        switch bytes.first {
        case UInt8(ascii: "{")?:
            var members: [JSONTree.Member] = []
            let slices = try syntax { () throws(JSONText.SyntaxError) in try JSONText.slices(of: bytes) }
            if let name = JSONText.repeatedName(in: slices) {
                throw child(.null, pointer / name).problem("\(JSONTree.quoted(name)) appears twice")
            }
            for (name, value) in slices {
                let node = child(.null, pointer / name)
                guard !name.utf8.contains(0) else { throw node.problem("a null character is not allowed: remove it") }
                members.append(JSONTree.Member(name: name, value: try node.parse(value)))
            }
            return .object(members)
        case UInt8(ascii: "[")?:
            var elements: [JSONTree] = []
            for value in try syntax({ () throws(JSONText.SyntaxError) in try JSONText.elements(of: bytes) }) {
                elements.append(try child(.null, pointer / elements.count).parse(value))
            }
            return .array(elements)
        case UInt8(ascii: "\"")?:
            guard let text = JSONText.string(from: bytes) else {
                throw problem("this text has a broken escape, such as half a surrogate pair")
            }
            // Postgres has no such character, so no rule could be stored.
            guard !text.utf8.contains(0) else { throw problem("a null character is not allowed: remove it") }
            return .string(ExactText(text))
        case UInt8(ascii: "t")?: return .bool(true)
        case UInt8(ascii: "f")?: return .bool(false)
        case UInt8(ascii: "n")?: return .null
        default:
            let text = String(decoding: bytes, as: UTF8.self)
            guard let number = JSONNumber(text) else {
                throw problem(
                    """
                    the number \(text.shortened(toBytes: 60)) is out of range: it has at most \
                    \(JSONNumber.mostDigits) digits, and at most \(JSONNumber.powers.upperBound) places before or \
                    behind the point
                    """)
            }
            return .number(number)
        }
    }

    private func syntax<T>(_ body: () throws(JSONText.SyntaxError) -> T) throws(CategoryProblem) -> T {
        do {
            return try body()
        } catch {
            throw problem("this is no JSON: \(error)")
        }
    }
}
