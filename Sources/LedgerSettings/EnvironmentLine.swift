/// Parses and writes a line of an ``EnvironmentFile``: `[export ]NAME=value`, and optionally a
/// comment after it. Lines are bytes.
enum EnvironmentLine {
    typealias Problem = LedgerSettings.Problem

    /// The name, and the text after the `=`; `nil` for a line without a setting.
    static func split(_ line: ArraySlice<UInt8>) throws(Problem) -> (name: String, rest: ArraySlice<UInt8>)? {
        guard !line.contains(0) else { throw wrong("it has a zero byte") }
        guard String(validating: line, as: UTF8.self) != nil else { throw wrong("it is not UTF-8") }
        guard !line.contains(where: isControl) else {
            throw wrong("it has a control character; lines must end with LF or CR LF")
        }
        var text = line.drop(while: isBlank)
        if text.isEmpty || text.first == hash { return nil }
        let export = text.prefix(while: isOfName)
        if export.elementsEqual("export".utf8), let next = text.dropFirst(export.count).first, isBlank(next) {
            text = text.dropFirst(export.count).drop(while: isBlank)
        }
        let name = text.prefix(while: isOfName)
        let behind = text.dropFirst(name.count)
        guard let first = name.first, !isDigit(first), behind.first == equals else {
            let spaced =
                behind.first.map(isBlank) == true && behind.drop(while: isBlank).first == equals && !name.isEmpty
            throw wrong(
                spaced ? "there must be no space before the =" : "it is not NAME=value, empty, or a # comment")
        }
        return (String(decoding: name, as: UTF8.self), behind.dropFirst())
    }

    /// The names of further settings that a program which reads the line as a shell does would find
    /// after the `=`, outside of quotes and comments.
    /// - Throws: ``LedgerSettings/Problem`` if something is not closed on the line, so that some
    ///   programs would take the following lines as part of it: a quote, a command `$(…)`, a list
    ///   `(…)`, or an escaped line feed.
    static func settings(behind text: ArraySlice<UInt8>) throws(Problem) -> [String] {
        var names: [String] = []
        var depth = 0
        var rest = text
        var startsWord = false
        scan: while let byte = rest.popFirst() {
            switch byte {
            case backslash:
                guard rest.popFirst() != nil else {
                    throw wrong("a \\ at the end of the line joins it with the next line")
                }
            case quote, doubleQuote, backtick: rest = try closed(rest, by: byte)
            case UInt8(ascii: "("), UInt8(ascii: "{"):
                let before = rest.startIndex - 2
                let opens = before < text.startIndex ? byte == UInt8(ascii: "(") : text[before] == UInt8(ascii: "$")
                if depth > 0 || opens { depth += 1 }
            case UInt8(ascii: ")"), UInt8(ascii: "}"): depth = max(0, depth - 1)
            case hash where startsWord: break scan
            default:
                let word = text[(rest.startIndex - 1)...]
                let name = word.prefix(startsWord ? word.count : 0).prefix(while: isOfName)
                if let first = name.first, !isDigit(first), text[name.endIndex...].first == equals {
                    names.append(String(decoding: name, as: UTF8.self))
                }
            }
            startsWord = isBlank(byte) || ";&|".utf8.contains(byte)
        }
        guard depth == 0 else { throw wrong("a bracket is not closed on this line") }
        return names
    }

    private static func closed(_ text: ArraySlice<UInt8>, by end: UInt8) throws(Problem) -> ArraySlice<UInt8> {
        var rest = text
        while let byte = rest.popFirst() {
            if byte == end { return rest }
            // In single quotes a backslash is an ordinary character.
            if byte == backslash, end != quote { _ = rest.popFirst() }
        }
        throw wrong("the quote is not closed on this line")
    }

    /// The value in the form in which a line must have it so that it is read back unchanged.
    /// - Throws: ``LedgerSettings/Problem`` if the value has a line feed or another control
    ///   character, which no form can express.
    static func written(_ value: String) throws(Problem) -> String {
        let bytes = Array(value.utf8)
        guard !bytes.contains(where: isControl) else {
            throw wrong("it has a control character, such as a line feed, which a file of settings cannot hold")
        }
        let isReadUnchanged = (try? self.value(bytes[...])) == value && (try? settings(behind: bytes[...])) != nil
        // For a shell, a blank ends the value.
        if isReadUnchanged, !bytes.contains(where: isBlank) { return value }
        if !bytes.contains(quote) { return "'\(value)'" }
        let escaped = bytes.flatMap { isSpecial($0) && $0 != quote ? [backslash, $0] : [$0] }
        return "\"\(String(decoding: escaped, as: UTF8.self))\""
    }

    /// The value that the text after the `=` expresses.
    static func value(_ text: ArraySlice<UInt8>) throws(Problem) -> String {
        switch text.first {
        case quote, doubleQuote: return try quoted(text)
        case let first? where isBlank(first):
            let rest = text.drop(while: isBlank)
            guard rest.isEmpty || rest.first == hash else {
                throw wrong(
                    "there must be no space after the =; ",
                    "write a value that begins with a space in single quotes")
            }
            return ""
        case hash:
            throw wrong(
                "a value that begins with # must be in single quotes, and a comment needs a space before it")
        default: return try plain(text)
        }
    }

    private static func plain(_ text: ArraySlice<UInt8>) throws(Problem) -> String {
        var end = text.startIndex
        for index in text.indices {
            if text[index] == hash, isBlank(text[index - 1]) { break }
            if !isBlank(text[index]) { end = index + 1 }
        }
        let value = text[..<end]
        guard !value.contains(where: isSpecial) else {
            throw wrong(
                "programs read an unquoted value with ' \" \\ ` or $ differently: write it in ",
                value.contains(quote) ? "double quotes with \\ before each of \" \\ ` $" : "single quotes")
        }
        return String(decoding: value, as: UTF8.self)
    }

    private static func quoted(_ text: ArraySlice<UInt8>) throws(Problem) -> String {
        let end = text[text.startIndex]
        var value: [UInt8] = []
        var rest = text.dropFirst()
        while let byte = rest.popFirst() {
            if byte == end {
                let behind = rest.drop(while: isBlank)
                guard behind.isEmpty || behind.first == hash && behind.startIndex > rest.startIndex else {
                    throw wrong("only a space and a # comment may follow the closing quote")
                }
                return String(decoding: value, as: UTF8.self)
            }
            guard end == doubleQuote, isSpecial(byte), byte != quote else {
                value.append(byte)
                continue
            }
            guard byte == backslash, let escaped = rest.popFirst(), isSpecial(escaped), escaped != quote else {
                throw wrong(
                    "in double quotes, write \\ before each of \" \\ ` $ and before nothing else, ",
                    "or use single quotes")
            }
            value.append(escaped)
        }
        throw wrong("the quote is not closed on this line")
    }

    /// The message is made of the program's own texts: a value may be a password, so none can be in
    /// it.
    private static func wrong(_ message: StaticString...) -> Problem {
        Problem(description: message.map(\.description).joined())
    }

    // MARK: Bytes

    private static let (hash, equals, tab) = (UInt8(ascii: "#"), UInt8(ascii: "="), UInt8(ascii: "\t"))
    private static let (quote, doubleQuote, backslash) = (UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "\\"))
    private static let backtick = UInt8(ascii: "`")

    private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == tab }

    private static func isControl(_ byte: UInt8) -> Bool { byte < 0x20 && byte != tab || byte == 0x7F }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func isSpecial(_ byte: UInt8) -> Bool {
        [quote, doubleQuote, backslash, backtick, UInt8(ascii: "$")].contains(byte)
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
