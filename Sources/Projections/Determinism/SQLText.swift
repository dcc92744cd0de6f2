/// The text of a definition's file, cut into tokens to find the line of a statement or a name.
struct SQLText: Sendable {
    /// A part of the text that comes from a file.
    struct Piece: Sendable {
        let file: String
        let text: Substring
        /// How many lines of the file come before the piece.
        let line: Int

        init(_ file: String, _ text: Substring, line: Int = 0) {
            self.file = file
            self.text = text
            self.line = line
        }
    }

    let file: String
    private let bytes: [UInt8]
    private let pieces: [Piece]

    init(_ file: String, _ text: String) { self.init(file, pieces: [Piece(file, text[...])]) }

    /// - Parameter file: the file of what has no place in a piece.
    init(_ file: String, pieces: [Piece]) {
        self.file = file
        self.pieces = pieces
        bytes = pieces.flatMap { Array($0.text.utf8) }
    }

    /// The line of a byte, such as `apply.sql:12`.
    func place(at byte: Int?) -> String {
        guard let byte, (0...bytes.count).contains(byte) else { return file }
        var start = 0
        for piece in pieces {
            let end = start + piece.text.utf8.count
            if byte < end || end == bytes.count {
                return "\(piece.file):\(1 + piece.line + bytes[start..<byte].count { $0 == 0x0A })"
            }
            start = end
        }
        return file
    }

    /// The first token, in lower case, and where it ends.
    var firstWord: (word: String, end: Int)? {
        tokens.first.map { (text($0).lowercased(), $0.range.upperBound) }
    }

    /// The second token, in lower case.
    var secondWord: String? { tokens.dropFirst().first.map { text($0).lowercased() } }

    /// The token at a byte: a name, a literal with its quotes, or an operator.
    func token(at byte: Int) -> String { tokens.first { $0.range.contains(byte) }.map(text) ?? "" }

    /// The first place of a name as a token of its own, outside comments and literals.
    func firstPlace(of name: String) -> Int? {
        tokens.first { token in
            let text = text(token)
            return text.lowercased() == name || text == "\"\(name)\""
        }?.range.lowerBound
    }

    /// The first place of a name behind another name.
    func firstPlace(of name: String, behind other: String) -> Int? {
        guard let start = firstPlace(of: other) else { return nil }
        return tokens.first { $0.range.lowerBound > start && [name, "\"\(name)\""].contains(text($0).lowercased()) }?
            .range
            .lowerBound
    }

    /// The first statement that begins, ends or marks a transaction, and its place. A definition
    /// must contain none: the projector begins and ends the transaction.
    var transactionControl: (word: String, byte: Int)? {
        var isFirst = true
        for (index, token) in tokens.enumerated() {
            let word = text(token).lowercased()
            defer { isFirst = word == ";" }
            guard isFirst else { continue }
            if Self.transactionWords.contains(word) { return (word.uppercased(), token.range.lowerBound) }
            if word == "prepare", tokens[(index + 1)...].first.map({ text($0).lowercased() }) == "transaction" {
                return ("PREPARE TRANSACTION", token.range.lowerBound)
            }
        }
        return nil
    }

    private static let transactionWords: Set = [
        "begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release",
    ]

    // MARK: Tokens

    private struct Token {
        var range: Range<Int>
    }

    private func text(_ token: Token) -> String { String(decoding: bytes[token.range], as: UTF8.self) }

    /// Cuts the text as Postgres does with `standard_conforming_strings` on. A text that Postgres
    /// would refuse may be cut differently.
    private var tokens: [Token] {
        var tokens: [Token] = []
        var place = 0
        /// Whether the last token was a string with backslash escapes. A string behind it continues
        /// it, with escapes too.
        var hasEscapes = false
        while true {
            place = blankEnd(from: place)
            guard place < bytes.count else { return tokens }
            let start = place
            let byte = bytes[place]
            var escapes = false
            if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
                escapes = hasEscapes && byte == UInt8(ascii: "'")
                place = quoteEnd(byte, from: place + 1, escapes: escapes)
            } else if byte | 0x20 == UInt8(ascii: "e"), place + 1 < bytes.count, bytes[place + 1] == UInt8(ascii: "'") {
                escapes = true
                place = quoteEnd(UInt8(ascii: "'"), from: place + 2, escapes: true)
            } else if byte == UInt8(ascii: "$"), let fence = fence(at: place) {
                place = fenceEnd(fence, from: place + fence.count)
            } else if Self.isPartOfName(byte) {
                while place < bytes.count, Self.isPartOfName(bytes[place]) || bytes[place] == UInt8(ascii: "$") {
                    place += 1
                }
            } else {
                place += 1
            }
            hasEscapes = escapes
            tokens.append(Token(range: start..<place))
        }
    }

    /// The end of spaces and comments.
    private func blankEnd(from start: Int) -> Int {
        var place = start
        while place < bytes.count {
            if bytes[place] <= 0x20 {
                place += 1
            } else if starts("--", at: place) {
                place = bytes[place...].firstIndex { $0 == 0x0A || $0 == 0x0D } ?? bytes.count
            } else if starts("/*", at: place) {
                place = commentEnd(from: place)
            } else {
                return place
            }
        }
        return place
    }

    /// The end of a comment that begins at `start`. Comments may be nested.
    private func commentEnd(from start: Int) -> Int {
        var (depth, place) = (0, start)
        repeat {
            if starts("/*", at: place) {
                (depth, place) = (depth + 1, place + 2)
            } else if starts("*/", at: place) {
                (depth, place) = (depth - 1, place + 2)
            } else {
                place += 1
            }
        } while depth > 0 && place < bytes.count
        return place
    }

    /// The end of a quoted text: behind the next `closing`. A doubled `closing` stands for the
    /// character itself.
    private func quoteEnd(_ closing: UInt8, from start: Int, escapes: Bool) -> Int {
        var place = start
        while place < bytes.count {
            if escapes, bytes[place] == UInt8(ascii: "\\") {
                place += 1
            } else if bytes[place] == closing {
                guard place + 1 < bytes.count, bytes[place + 1] == closing else { return place + 1 }
                place += 1
            }
            place += 1
        }
        return bytes.count
    }

    private func starts(_ text: StaticString, at place: Int) -> Bool {
        text.withUTF8Buffer { bytes[place...].starts(with: $0) }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func isPartOfName(_ byte: UInt8) -> Bool {
        byte >= 0x80 || byte == UInt8(ascii: "_") || isDigit(byte)
            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    /// The opening of a dollar-quoted string: `$$` or `$tag$`.
    private func fence(at start: Int) -> ArraySlice<UInt8>? {
        guard let end = bytes[(start + 1)...].firstIndex(where: { !Self.isPartOfName($0) }),
            bytes[end] == UInt8(ascii: "$"),
            !Self.isDigit(bytes[start + 1])
        else { return nil }
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
