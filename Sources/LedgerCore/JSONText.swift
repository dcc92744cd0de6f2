/// Reads the outermost members of a JSON object, and leaves the bytes of their values untouched.
///
/// Decoding and encoding with Foundation would change values: `1.0` to `1`, keys to another order.
/// The ledger keeps data byte for byte, so values are cut out of the input text.
package enum JSONText {
    package struct SyntaxError: Error, Sendable, CustomStringConvertible {
        package let message: String
        /// The place of the error, in bytes from 0.
        package let place: Int
        package var description: String { "\(message) at byte \(place)" }
    }

    package typealias Member = (name: ExactText, value: [UInt8])
    /// A member whose value is a slice of the text.
    package typealias Slice = (name: ExactText, value: ArraySlice<UInt8>)

    /// The members of `text`, an object, in order.
    package static func members(of text: String) throws(SyntaxError) -> [Member] { try members(of: Array(text.utf8)) }

    package static func members(of bytes: [UInt8]) throws(SyntaxError) -> [Member] {
        try slices(of: bytes[...]).map { ($0.name, Array($0.value)) }
    }

    /// The members of the object `bytes`, in order, with their values as slices: nothing is copied.
    package static func slices(of bytes: ArraySlice<UInt8>) throws(SyntaxError) -> [Slice] {
        var scanner = Scanner(bytes: bytes)
        var members: [Slice] = []
        scanner.skipSpace()
        try scanner.expect("{")
        scanner.skipSpace()
        if !scanner.skip("}") {
            repeat {
                scanner.skipSpace()
                let nameStart = scanner.place
                try scanner.string()
                guard let name = string(from: bytes[nameStart..<scanner.place]) else {
                    throw SyntaxError(message: "broken string", place: nameStart - bytes.startIndex)
                }
                scanner.skipSpace()
                try scanner.expect(":")
                scanner.skipSpace()
                let start = scanner.place
                try scanner.value()
                members.append((ExactText(name), bytes[start..<scanner.place]))
                scanner.skipSpace()
            } while scanner.skip(",")
            try scanner.expect("}")
        }
        scanner.skipSpace()
        guard scanner.place == bytes.endIndex else {
            throw SyntaxError(message: "more text after the object", place: scanner.place - bytes.startIndex)
        }
        return members
    }

    /// The first name that more than one of `members` has. Some programs use the first such member
    /// and others the last, so two readers would see different values.
    package static func repeatedName(in members: [Slice]) -> ExactText? {
        // Comparing pairs is fast enough for a few members, which is what most objects have.
        guard members.count > 16 else {
            return members.indices.first { index in members[..<index].contains { $0.name == members[index].name } }
                .map { members[$0].name }
        }
        var seen: Set<ExactText> = []
        return members.first { !seen.insert($0.name).inserted }?.name
    }

    /// The string member `name` of the object `json`. Of several members with one name the last
    /// counts, as in Postgres. `nil` if there is none, if it is not a string, or if `json` is not
    /// an object.
    package static func text(_ name: ExactText, in json: String) -> String? {
        guard let members = try? slices(of: Array(json.utf8)[...]) else { return nil }
        return members.last { $0.name == name }.flatMap { string(from: $0.value) }
    }

    /// The elements of the array `bytes`, in order, as slices.
    ///
    /// They are separated by brackets and strings only, and not checked to be JSON: their reader
    /// does that. So an error in one element, such as a `NaN`, does not affect the others.
    /// - Parameters:
    ///   - bytes: the text of the array.
    ///   - most: if there are more elements, one more is returned and the rest is not read.
    /// - Throws: if brackets and strings no longer show where an element ends.
    package static func elements(
        of bytes: ArraySlice<UInt8>, most: Int = .max - 1
    ) throws(SyntaxError) -> [ArraySlice<UInt8>] {
        var scanner = Scanner(bytes: bytes)
        var elements: [ArraySlice<UInt8>] = []
        scanner.skipSpace()
        try scanner.expect("[")
        scanner.skipSpace()
        if !scanner.skip("]") {
            repeat {
                scanner.skipSpace()
                let start = scanner.place
                try scanner.skipElement()
                let end = bytes[start..<scanner.place].lastIndex { !isSpace($0) }.map { $0 + 1 } ?? start
                elements.append(bytes[start..<end])
                if elements.count > most { return elements }
            } while scanner.skip(",")
            try scanner.expect("]")
        }
        scanner.skipSpace()
        guard scanner.place == bytes.endIndex else {
            throw SyntaxError(message: "more text after the array", place: scanner.place - bytes.startIndex)
        }
        return elements
    }

    /// The value of a JSON string literal; `nil` if `literal` is not one, or has half a surrogate
    /// pair.
    package static func string(from literal: [UInt8]) -> String? { string(from: literal[...]) }

    package static func string(from literal: ArraySlice<UInt8>) -> String? {
        guard literal.count >= 2, literal.first == UInt8(ascii: "\""), literal.last == UInt8(ascii: "\"") else {
            return nil
        }
        var rest = literal.dropFirst().dropLast()
        // Most strings have no escapes.
        if rest.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) {
            return String(utf8: rest)
        }
        var bytes: [UInt8] = []
        func unit() -> UInt16? {
            guard rest.starts(with: #"\u"#.utf8) else { return nil }
            let digits = rest.dropFirst(2).prefix(4)
            // UInt16 alone would take a sign for a digit.
            guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
                let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
            else { return nil }
            rest = rest.dropFirst(6)
            return unit
        }
        while let first = rest.first {
            if first < 0x20 || first == UInt8(ascii: "\"") { return nil }
            if first != UInt8(ascii: "\\") {
                bytes.append(first)
                rest = rest.dropFirst()
            } else if let second = rest.dropFirst().first, let plain = escaped(second) {
                bytes.append(plain)
                rest = rest.dropFirst(2)
            } else {
                guard let high = unit() else { return nil }
                var scalar = UInt32(high)
                if (0xD800..<0xDC00).contains(high) {
                    guard let low = unit(), (0xDC00..<0xE000).contains(low) else { return nil }
                    scalar = 0x10000 + (UInt32(high) - 0xD800) << 10 + (UInt32(low) - 0xDC00)
                }
                guard let scalar = Unicode.Scalar(scalar) else { return nil }
                bytes += Array(String(Character(scalar)).utf8)
            }
        }
        return String(utf8: bytes[...])
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

    /// The text after a byte order mark, which some programs write at the start and which has no
    /// meaning in UTF-8.
    package static func behindByteOrderMark(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes
    }

    /// The byte that a letter stands for after a backslash.
    private static func escaped(_ letter: UInt8) -> UInt8? {
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): letter
        case UInt8(ascii: "b"): 8
        case UInt8(ascii: "f"): 12
        case UInt8(ascii: "n"): 10
        case UInt8(ascii: "r"): 13
        case UInt8(ascii: "t"): 9
        default: nil
        }
    }

    /// Walks over one JSON text. It follows nesting with its own stack, so deep nesting costs
    /// memory in proportion and cannot overflow the call stack.
    private struct Scanner {
        let bytes: ArraySlice<UInt8>
        /// An index of `bytes`.
        var place: Int

        init(bytes: ArraySlice<UInt8>) {
            self.bytes = bytes
            place = bytes.startIndex
        }

        private var current: UInt8? { place < bytes.endIndex ? bytes[place] : nil }

        /// A backslash at the very end moves the scanner one byte beyond the text, hence `min`.
        private func error(_ message: String) -> SyntaxError {
            SyntaxError(message: message, place: min(place, bytes.endIndex) - bytes.startIndex)
        }

        mutating func skipSpace() {
            while let byte = current, JSONText.isSpace(byte) { place += 1 }
        }

        mutating func skip(_ character: Unicode.Scalar) -> Bool {
            guard current == UInt8(ascii: character) else { return false }
            place += 1
            return true
        }

        mutating func expect(_ character: Unicode.Scalar) throws(SyntaxError) {
            guard skip(character) else {
                throw error(current == nil ? "the text ends where \(character) should stand" : "expected \(character)")
            }
        }

        mutating func string() throws(SyntaxError) {
            guard skip("\"") else {
                throw error(
                    current == nil
                        ? "the text ends where a name should stand" : "a name in double quotes should stand here")
            }
            while let byte = current {
                place += 1
                if byte == UInt8(ascii: "\"") { return }
                if byte == UInt8(ascii: "\\") { place += 1 }
                if byte < 0x20 { throw error("a control character in a string") }
            }
            throw error("a string without an end")
        }

        /// Moves to the comma or the bracket after an element, whatever the element is.
        mutating func skipElement() throws(SyntaxError) {
            /// The closing brackets that are still to come.
            var open: [UInt8] = []
            while let byte = current {
                switch byte {
                case UInt8(ascii: "\""):
                    place += 1
                    // The content of the string is checked by the reader of the element.
                    while let byte = current, byte != UInt8(ascii: "\"") { place += byte == UInt8(ascii: "\\") ? 2 : 1 }
                    guard current != nil else { throw error("a string without an end") }
                case UInt8(ascii: "{"): open.append(UInt8(ascii: "}"))
                case UInt8(ascii: "["): open.append(UInt8(ascii: "]"))
                case UInt8(ascii: ",") where open.isEmpty, UInt8(ascii: "]") where open.isEmpty: return
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    guard open.popLast() == byte else {
                        throw error("a \(Unicode.Scalar(byte)) that does not match an open bracket")
                    }
                default: break
                }
                place += 1
            }
            throw error("the text ends within an element of the array")
        }

        mutating func value() throws(SyntaxError) {
            /// The closing brackets that are still to come.
            var open: [UInt8] = []
            while true {
                skipSpace()
                // A value starts here.
                if skip("{") {
                    skipSpace()
                    if !skip("}") {
                        open.append(UInt8(ascii: "}"))
                        try name()
                        continue
                    }
                } else if skip("[") {
                    skipSpace()
                    if !skip("]") {
                        open.append(UInt8(ascii: "]"))
                        continue
                    }
                } else if current == UInt8(ascii: "\"") {
                    try string()
                } else {
                    try word()
                }
                // A value has ended. It may also be the last of the arrays and objects around it.
                while let closing = open.last {
                    skipSpace()
                    if current == closing {
                        place += 1
                        open.removeLast()
                    } else {
                        try expect(",")
                        if closing == UInt8(ascii: "}") { try name() }
                        break
                    }
                }
                if open.isEmpty { return }
            }
        }

        private mutating func name() throws(SyntaxError) {
            skipSpace()
            try string()
            skipSpace()
            try expect(":")
        }

        /// A number, `true`, `false` or `null`.
        private mutating func word() throws(SyntaxError) {
            let start = place
            scan: while let byte = current {
                switch byte {
                case UInt8(ascii: ","), 0x20, 0x0A, 0x0D, 0x09, UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: ":"),
                    UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: "\""):
                    break scan
                default: place += 1
                }
            }
            let word = bytes[start..<place]
            guard Self.isNumber(word) || ["true", "false", "null"].contains(where: { word.elementsEqual($0.utf8) })
            else {
                place = start
                throw error(Self.advice(on: word))
            }
        }

        /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
        private static func isNumber(_ word: ArraySlice<UInt8>) -> Bool {
            var place = word.startIndex
            func next(_ character: Unicode.Scalar) -> Bool {
                guard place < word.endIndex, word[place] == UInt8(ascii: character) else { return false }
                place += 1
                return true
            }
            func digits() -> Bool {
                let start = place
                while place < word.endIndex, word[place].isDigit { place += 1 }
                return place > start
            }
            _ = next("-")
            guard next("0") || digits() else { return false }
            if next("."), !digits() { return false }
            if next("e") || next("E") {
                _ = next("+") || next("-")
                if !digits() { return false }
            }
            return place == word.endIndex
        }

        /// Says what to write in the place of a value. Programs in other languages write some texts
        /// for values that JSON does not have. Any other text may be personal, and is not quoted.
        private static func advice(on word: ArraySlice<UInt8>) -> String {
            let text = String(decoding: word.prefix(30), as: UTF8.self)
            return switch text {
            case "": "there is no value"
            case "NaN", "-NaN", "nan", "-nan", "Infinity", "-Infinity", "inf", "-inf", "+Infinity":
                """
                \(text) is no JSON: write null in its place (in Python, json.dumps(…, \
                allow_nan=False) tells where it is)
                """
            case "None", "undefined", "nil", "NULL": "\(text) is no JSON: write null"
            case "True", "False", "TRUE", "FALSE": "\(text) is no JSON: write \(text.lowercased())"
            default:
                word.first == UInt8(ascii: "'")
                    ? "this is no JSON: strings are in double quotes" : "this is not a JSON value"
            }
        }
    }
}

extension String {
    /// `nil` if the bytes are not UTF-8. The standard library's `String(validating:as:)` does the
    /// same for every encoding, and takes three times as long.
    package init?(utf8 bytes: ArraySlice<UInt8>) {
        guard let text = try? UTF8Span(validating: bytes.span) else { return nil }
        self.init(copying: text)
    }
}
