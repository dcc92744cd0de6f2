/// The text of a definition's file, for saying where in it something stands.
struct SQLText: Sendable {
    let file: String
    private let bytes: [UInt8]

    init(_ file: String, _ text: String) {
        self.file = file
        bytes = Array(text.utf8)
    }

    /// `apply.sql:12`
    func place(at byte: Int?) -> String {
        guard let byte, (0...bytes.count).contains(byte) else { return file }
        return "\(file):\(1 + bytes[..<byte].count { $0 == 0x0A })"
    }

    /// What stands at a place: a name, a literal with its quotes, or an operator.
    func token(at byte: Int) -> String { tokens.first { $0.range.contains(byte) }.map(text) ?? "" }

    /// Where a name first stands as a token of its own, in neither a comment nor a literal.
    func firstPlace(of name: String) -> Int? {
        tokens.first { token in
            let text = text(token)
            return text.lowercased() == name || text == "\"\(name)\""
        }?.range.lowerBound
    }

    /// Where a name first stands behind another.
    func firstPlace(of name: String, behind other: String) -> Int? {
        guard let start = firstPlace(of: other) else { return nil }
        return tokens.first { $0.range.lowerBound > start && [name, "\"\(name)\""].contains(text($0).lowercased()) }?.range
            .lowerBound
    }

    // MARK: Tokens

    private struct Token {
        var range: Range<Int>
    }

    private func text(_ token: Token) -> String { String(decoding: bytes[token.range], as: UTF8.self) }

    private var tokens: [Token] {
        var tokens: [Token] = []
        var place = 0
        func starts(_ text: StaticString, at place: Int) -> Bool {
            text.withUTF8Buffer { bytes[place...].starts(with: $0) }
        }
        /// Behind the next `closing`, where twice is a character of its own.
        func quoteEnd(_ closing: UInt8, from start: Int) -> Int {
            var place = start
            while place < bytes.count {
                if bytes[place] == closing {
                    guard place + 1 < bytes.count, bytes[place + 1] == closing else { return place + 1 }
                    place += 1
                }
                place += 1
            }
            return place
        }
        while place < bytes.count {
            let start = place
            let byte = bytes[place]
            if byte <= 0x20 {
                place += 1
                continue
            } else if starts("--", at: place) {
                place = bytes[place...].firstIndex(of: 0x0A) ?? bytes.count
                continue
            } else if starts("/*", at: place) {
                var depth = 0
                repeat {
                    if starts("/*", at: place) {
                        (depth, place) = (depth + 1, place + 2)
                    } else if starts("*/", at: place) {
                        (depth, place) = (depth - 1, place + 2)
                    } else {
                        place += 1
                    }
                } while depth > 0 && place < bytes.count
                continue
            } else if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
                place = quoteEnd(byte, from: place + 1)
            } else if byte == UInt8(ascii: "$"), let fence = fence(at: place) {
                place = fenceEnd(fence, from: place + fence.count)
            } else if Self.isPartOfName(byte) {
                while place < bytes.count, Self.isPartOfName(bytes[place]) { place += 1 }
            } else {
                place += 1
            }
            tokens.append(Token(range: start..<place))
        }
        return tokens
    }

    private static func isPartOfName(_ byte: UInt8) -> Bool {
        byte >= 0x80 || byte == UInt8(ascii: "_") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    /// `$$` or `$tag$`
    private func fence(at start: Int) -> ArraySlice<UInt8>? {
        guard let end = bytes[(start + 1)...].firstIndex(where: { !Self.isPartOfName($0) }), bytes[end] == UInt8(ascii: "$")
        else {
            return nil
        }
        return bytes[start...end]
    }

    private func fenceEnd(_ fence: ArraySlice<UInt8>, from start: Int) -> Int {
        var place = start
        while place < bytes.count {
            if bytes[place...].starts(with: fence) { return place + fence.count }
            place += 1
        }
        return place
    }
}
