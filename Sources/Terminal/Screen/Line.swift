import Texts

/// How a text is drawn. It adds to what the text says: nothing is told by it alone.
package struct Style: Sendable, Hashable {
    package enum Color: Int, Sendable {
        case red = 31
        case green, yellow, blue, magenta, cyan
    }
    package var color: Color?
    package var isBold = false
    package var isDim = false
    /// Text and background exchanged.
    package var isReversed = false

    package static let plain = Style()
    package static let bold = Style(isBold: true)
    package static let dim = Style(isDim: true)

    package init(_ color: Color? = nil, isBold: Bool = false, isDim: Bool = false, isReversed: Bool = false) {
        (self.color, self.isBold, self.isDim, self.isReversed) = (color, isBold, isDim, isReversed)
    }

    var reversed: Style {
        var style = self
        style.isReversed = true
        style.isDim = false
        return style
    }
}

/// One line of a screen: texts with their styles, from left to right.
package struct Line: Sendable, Equatable {
    package struct Part: Sendable, Equatable {
        package var text: String
        package var style: Style
    }

    package private(set) var parts: [Part] = []
    package private(set) var columns = 0

    package init() {}

    package init(_ text: String, _ style: Style = .plain) { add(text, style) }

    /// Adds a text. It is made printable, because it may come from anybody.
    package mutating func add(_ text: String, _ style: Style = .plain) {
        let text = text.printable
        guard !text.isEmpty else { return }
        parts.append(Part(text: text, style: style))
        columns += text.columns
    }

    /// Adds spaces up to a column.
    package mutating func fill(to column: Int, _ style: Style = .plain) {
        if column > columns { add(String(repeating: " ", count: column - columns), style) }
    }

    /// The line as wide as the screen, so that no terminal breaks it: filled, or cut.
    package func fitted(to width: Int, _ style: Style = .plain) -> Line {
        var line = Line()
        for part in parts {
            let left = width - line.columns
            guard left > 0 else { break }
            line.add(part.text.columns > left ? part.text.shortened(toColumns: left) : part.text, part.style)
        }
        line.fill(to: width, style)
        return line
    }

    var reversed: Line {
        var line = self
        line.parts = parts.map { Part(text: $0.text, style: $0.style.reversed) }
        return line
    }

    /// The line without its styles.
    package var text: String { parts.map(\.text).joined() }
}

/// The size of a terminal, in characters.
package struct ScreenSize: Sendable, Equatable {
    package var columns: Int
    package var rows: Int

    package init(columns: Int, rows: Int) {
        // Some terminals say 0 until they know.
        self.columns = columns > 0 ? min(columns, 1000) : 80
        self.rows = rows > 0 ? min(rows, 250) : 24
    }
}
