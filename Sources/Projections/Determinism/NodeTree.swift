/// A parsed statement: the tree in which Postgres has resolved every name, in the text form in
/// which the server stores functions with an SQL body.
///
/// The tree leaves no doubt about what `now` or the name of a table means. The SQL text does.
indirect enum NodeTree: Sendable {
    case node(Node)
    case list([NodeTree])
    /// A number, a name, or a string.
    case word(String)
    case null

    struct Node: Sendable {
        let tag: String
        /// By field name in the source code of Postgres.
        let fields: [String: NodeTree]  // plain: names in the sources of Postgres

        subscript(_ name: String) -> NodeTree { fields[name] ?? .null }
        func number(_ name: String) -> Int? { self[name].number }
    }

    struct SyntaxError: Error, CustomStringConvertible {
        let description: String
    }

    var node: Node? { if case .node(let node) = self { node } else { nil } }
    var number: Int? { if case .word(let word) = self { Int(word) } else { nil } }
    var word: String? { if case .word(let word) = self { word } else { nil } }
    /// The numbers of a list, without the letter in front that says their kind.
    var numbers: [Int] { elements.compactMap(\.number) }
    var isNull: Bool { if case .null = self { true } else { false } }
    var elements: [NodeTree] { if case .list(let elements) = self { elements } else { [] } }

    init(parsing text: String) throws(SyntaxError) {
        var reader = Reader(bytes: Array(text.utf8))
        self = try reader.value()
    }

    /// The grammar of Postgres's `outfuncs.c`: `{TAG :field value …}`, `(element …)`, `<>`, and
    /// words in which a backslash escapes a character.
    private struct Reader {
        let bytes: [UInt8]
        var place = 0

        private var current: UInt8? { place < bytes.count ? bytes[place] : nil }

        private mutating func skipSpace() {
            while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x09 { place += 1 }
        }

        private mutating func take(_ character: Unicode.Scalar) -> Bool {
            skipSpace()
            guard current == UInt8(ascii: character) else { return false }
            place += 1
            return true
        }

        mutating func value() throws(SyntaxError) -> NodeTree {
            if take("{") {
                let tag = plainWord()
                var fields: [String: NodeTree] = [:]  // plain: names in the sources of Postgres
                while take(":") {
                    let name = plainWord()
                    var values: [NodeTree] = []
                    skipSpace()
                    while let byte = current, byte != UInt8(ascii: ":"), byte != UInt8(ascii: "}") {
                        values.append(try value())
                        skipSpace()
                    }
                    fields[name] = values.count == 1 ? values[0] : .list(values)
                }
                guard take("}") else {
                    throw SyntaxError(description: "no end of \(tag) at byte \(place) of Postgres's parse tree")
                }
                return .node(Node(tag: tag, fields: fields))
            }
            for (open, close) in [("(" as Unicode.Scalar, ")" as Unicode.Scalar), ("[", "]")] where take(open) {
                var elements: [NodeTree] = []
                while !take(close) {
                    guard current != nil else {
                        throw SyntaxError(description: "an open list at the end of Postgres's parse tree")
                    }
                    elements.append(try value())
                }
                return .list(elements)
            }
            if take("\"") {
                var word: [UInt8] = []
                while let byte = current, byte != UInt8(ascii: "\"") {
                    place += byte == UInt8(ascii: "\\") ? 1 : 0
                    if let byte = current { word.append(byte) }
                    place += 1
                }
                place += 1
                return .word(String(decoding: word, as: UTF8.self))
            }
            let start = place
            let word = plainWord()
            guard place > start else {
                throw SyntaxError(description: "nothing to read at byte \(place) of Postgres's parse tree")
            }
            return word == "<>" ? .null : .word(word)
        }

        private mutating func plainWord() -> String {
            var word: [UInt8] = []
            while let byte = current, ![0x20, 0x0A, 0x09].contains(byte), !"(){}[]".utf8.contains(byte) {
                if byte == UInt8(ascii: "\\"), place + 1 < bytes.count { place += 1 }
                word.append(bytes[place])
                place += 1
            }
            return String(decoding: word, as: UTF8.self)
        }
    }
}
