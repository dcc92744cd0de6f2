import Texts

extension Unicode.Scalar {
    /// How many columns a terminal gives the character: 2 for wide ones, such as those of Chinese
    /// and most emoji, and 0 for those that are drawn onto the one before.
    ///
    /// Terminals differ where characters are joined, as in flags. The sum of the widths is then
    /// more than what is drawn, never less, and the ``Screen`` says in which column a text begins.
    package var columns: Int {
        // Nearly all texts are ASCII.
        guard value >= 0x300 else { return value == 0xAD ? 0 : 1 }
        switch properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        if properties.isEmojiPresentation { return 2 }
        return Self.wide.contains { $0.contains(value) } ? 2 : 1
    }

    /// The East Asian characters that are wide or full-width. Emoji have a property of their own.
    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115F, 0x2329...0x232A, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0xA4CF,
        0xA960...0xA97F, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE10...0xFE19, 0xFE30...0xFE6F, 0xFF00...0xFF60,
        0xFFE0...0xFFE6, 0x16FE0...0x18CFF, 0x1AFF0...0x1B2FF, 0x1F200...0x1F2FF, 0x1F300...0x1F64F,
        0x1F900...0x1F9FF, 0x20000...0x3FFFD,
    ]
}

extension String {
    /// The columns that a terminal gives the text.
    package var columns: Int { unicodeScalars.reduce(0) { $0 + $1.columns } }

    /// The text in exactly that many columns: made printable, cut with an ellipsis, or filled with
    /// spaces.
    /// - Parameter trailing: whether it stands at the right.
    package func fitted(to width: Int, trailing: Bool = false) -> String {
        guard width > 0 else { return "" }
        let text = shortened(toColumns: width)
        let space = String(repeating: " ", count: width - text.columns)
        return trailing ? space + text : text + space
    }

    /// The text, printable and in at most that many columns.
    package func shortened(toColumns width: Int) -> String {
        var (kept, used) = (UnicodeScalarView(), 0)
        // Where the kept text ends if an ellipsis must still fit behind it.
        var cut = kept.endIndex
        var marks = 0
        for scalar in unicodeScalars {
            let columns = scalar.columns
            marks = columns == 0 ? marks + 1 : 0
            // A letter with a thousand accents would be drawn over the lines around it.
            if marks > Self.mostMarks { continue }
            if used + columns > width {
                guard width > 0 else { return "" }
                return String(kept[..<cut]).printable + "…"
            }
            kept.append(scalar)
            used += columns
            if used <= width - 1 { cut = kept.endIndex }
        }
        return String(kept).printable
    }

    private static let mostMarks = 4
}
