/// What a terminal shows, and the bytes that make it show something else. A plain value.
///
/// Only lines that differ are written. Each text that follows one beyond ASCII is put into its
/// column, so that a terminal which measures characters differently moves nothing else.
package struct Screen: Sendable {
    private var shown: [Line?] = []
    private let hasColors: Bool

    /// - Parameter hasColors: whether styles may have colours.
    package init(hasColors: Bool) { self.hasColors = hasColors }

    /// Forgets what the terminal shows: it was resized, or another program has written to it.
    package mutating func forget() { shown = [] }

    /// The bytes that make the terminal show these lines, and nothing else.
    package mutating func draw(_ lines: [Line]) -> [UInt8] {
        var bytes: [UInt8] = []
        if shown.count != lines.count {
            bytes += "\u{1B}[0m\u{1B}[2J".utf8
            shown = Array(repeating: nil, count: lines.count)
        }
        for (index, line) in lines.enumerated() where shown[index] != line {
            append(line, at: index, to: &bytes)
            shown[index] = line
        }
        return bytes
    }

    private func append(_ line: Line, at index: Int, to bytes: inout [UInt8]) {
        // The line is erased before it is written: a character that the terminal draws narrower
        // than it is measured would leave a column as it was.
        bytes += "\u{1B}[\(index + 1);1H\u{1B}[0m\u{1B}[2K".utf8
        var column = 0
        var isCertain = true
        for part in line.parts {
            if !isCertain { bytes += "\u{1B}[\(column + 1)G".utf8 }
            bytes += code(of: part.style).utf8
            bytes += part.text.utf8
            column += part.text.columns
            isCertain = part.text.utf8.allSatisfy { $0 < 0x80 }
        }
        bytes += "\u{1B}[0m".utf8
    }

    private func code(of style: Style) -> String {
        var codes = ["0"]
        if style.isBold { codes.append("1") }
        if style.isDim { codes.append("2") }
        if style.isReversed { codes.append("7") }
        if hasColors, let color = style.color { codes.append("\(color.rawValue)") }
        return "\u{1B}[\(codes.joined(separator: ";"))m"
    }
}
