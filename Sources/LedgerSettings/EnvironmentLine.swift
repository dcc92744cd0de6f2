/// A line of an ``EnvironmentFile``, as bytes: `[export ]NAME=value`, with a comment behind it perhaps.
enum EnvironmentLine {
    typealias Problem = LedgerSettings.Problem

    /// The name, and what is behind the `=`; `nil` for a line without a setting.
    static func split(_ line: ArraySlice<UInt8>) throws(Problem) -> (name: String, rest: ArraySlice<UInt8>)? {
        guard !line.contains(0) else { throw Problem(description: "it has a zero byte") }
        guard String(validating: line, as: UTF8.self) != nil else { throw Problem(description: "it is not UTF-8") }
        guard !line.contains(where: { $0 < 0x20 && $0 != tab || $0 == 0x7F }) else {
            throw Problem(description: "it has a control character; lines end with LF, or CR LF")
        }
        var text = line.drop(while: isBlank)
        if text.isEmpty || text.first == hash { return nil }
        let export = text.prefix(while: isOfName)
        if export.elementsEqual("export".utf8), let next = text.dropFirst(export.count).first, isBlank(next) {
            text = text.dropFirst(export.count).drop(while: isBlank)
        }
        let name = text.prefix(while: isOfName)
        let behind = text.dropFirst(name.count)
        guard let first = name.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first), behind.first == equals else {
            let spaced = behind.first.map(isBlank) == true && behind.drop(while: isBlank).first == equals && !name.isEmpty
            throw Problem(description: spaced ? "no space may stand before the =" : "it is not NAME=value, empty, or a # comment")
        }
        return (String(decoding: name, as: UTF8.self), behind.dropFirst())
    }

    /// The value that is behind the `=`.
    static func value(_ text: ArraySlice<UInt8>) throws(Problem) -> String {
        switch text.first {
        case quote, doubleQuote: return try quoted(text)
        case let first? where isBlank(first):
            let rest = text.drop(while: isBlank)
            guard rest.isEmpty || rest.first == hash else {
                throw Problem(description: "no space may stand behind the =; write a value that begins with one in single quotes")
            }
            return ""
        case hash: throw Problem(description: "write a value that begins with # in single quotes, and a space before a comment")
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
            throw Problem(
                description:
                    "a value with ' \" \\ ` or $ means one thing to one program and another to the next: write it in single quotes"
                    + (value.contains(quote) ? ", or in double quotes with \\ before each of \" \\ ` $" : ""))
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
                    throw Problem(description: "behind the closing quote nothing may stand but a space and a # comment")
                }
                return String(decoding: value, as: UTF8.self)
            }
            guard end == doubleQuote, isSpecial(byte), byte != quote else {
                value.append(byte)
                continue
            }
            guard byte == backslash, let escaped = rest.popFirst(), isSpecial(escaped), escaped != quote else {
                throw Problem(
                    description:
                        "in double quotes write \\ before each of \" \\ ` $, and before nothing else; or use single quotes")
            }
            value.append(escaped)
        }
        throw Problem(description: "the quote is not closed; a value ends on its line")
    }

    // MARK: Bytes

    private static let (hash, equals, tab) = (UInt8(ascii: "#"), UInt8(ascii: "="), UInt8(ascii: "\t"))
    private static let (quote, doubleQuote, backslash) = (UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "\\"))

    private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == tab }

    private static func isSpecial(_ byte: UInt8) -> Bool {
        [quote, doubleQuote, backslash, UInt8(ascii: "`"), UInt8(ascii: "$")].contains(byte)
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
