import LedgerCore

/// Text from a file as a part of SQL.
enum QuotedSQL {
    /// The text as a string constant, as `quote_literal` writes it: it means the same whatever
    /// `standard_conforming_strings` says.
    static func literal(_ text: String) -> String {
        let quoted = text.replacing("'", with: "''")
        return quoted.utf8.contains(UInt8(ascii: "\\")) ? "E'\(quoted.replacing("\\", with: "\\\\"))'" : "'\(quoted)'"
    }

    static func literal(_ text: ExactText) -> String { literal(text.text) }

    static func array(_ texts: [ExactText]) -> String {
        "ARRAY[\(texts.map { literal($0) }.joined(separator: ", "))]::text[]"
    }

    static func jsonb(_ tree: JSONTree) -> String { "\(literal(tree.canonical))::jsonb" }

    static func jsonb(_ number: JSONNumber) -> String { "\(literal(number.description))::jsonb" }
}

/// A text that SQL puts together where a rule is broken: fixed words, and what is known only then.
struct SQLMessage {
    private enum Piece {
        case words(String)
        case expression(String)
    }

    private var pieces: [Piece] = []

    init(_ words: String = "") { add(words) }

    mutating func add(_ words: String) {
        guard !words.isEmpty else { return }
        if case .words(let before)? = pieces.last {
            pieces[pieces.count - 1] = .words(before + words)
        } else {
            pieces.append(.words(words))
        }
    }

    mutating func add(expression: String) { pieces.append(.expression(expression)) }

    static func + (message: SQLMessage, words: String) -> SQLMessage {
        var longer = message
        longer.add(words)
        return longer
    }

    func adding(expression: String) -> SQLMessage {
        var longer = self
        longer.add(expression: expression)
        return longer
    }

    /// The expression of type text.
    var sql: String {
        let parts = pieces.map { piece in
            switch piece {
            case .words(let words): QuotedSQL.literal(words)
            case .expression(let expression): expression
            }
        }
        return parts.isEmpty ? "''" : parts.joined(separator: " || ")
    }
}
