import Terminal
import Testing

/// The screen of a terminal, as much of one as shells and `jobledger top` need. Every code that it
/// does not know is an issue: a program may send only what each terminal understands.
struct TerminalScreen {
    private(set) var columns: Int
    private(set) var rows: Int
    private var cells: [[String]]
    private var (row, column) = (0, 0)
    private var pending: [UInt8] = []
    /// The main screen and its place, while the alternate one is shown.
    private var main: (cells: [[String]], row: Int, column: Int)?

    /// Whether the alternate screen is shown.
    var isAlternate: Bool { main != nil }
    private(set) var showsCaret = true
    private(set) var wraps = true
    /// The codes of colours that were used.
    private(set) var colors: Set<Int> = []

    init(columns: Int, rows: Int) {
        (self.columns, self.rows) = (columns, rows)
        cells = Self.blank(columns, rows)
    }

    private static func blank(_ columns: Int, _ rows: Int) -> [[String]] {
        Array(repeating: Array(repeating: " ", count: columns), count: rows)
    }

    /// The lines, without spaces at their ends.
    var lines: [String] {
        cells.map { row in
            let line = row.joined()
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }

    /// What an alternate screen shows after that is not certain; the main one keeps what fits.
    mutating func resize(columns: Int, rows: Int) {
        (self.columns, self.rows) = (columns, rows)
        cells = Self.blank(columns, rows)
        if let (kept, row, column) = main {
            var cells = cells
            for (index, line) in kept.prefix(rows).enumerated() {
                cells[index].replaceSubrange(..<min(columns, line.count), with: line.prefix(columns))
            }
            main = (cells, min(row, rows - 1), min(column, columns - 1))
        }
        (row, column) = (0, 0)
    }

    mutating func write(_ bytes: [UInt8]) {
        pending += bytes
        // A character or a code may end in the next part.
        while let first = pending.first {
            let length: Int
            if first == 0x1B {
                guard let end = escapeEnd() else { return }
                length = end
                obey(String(decoding: pending[1..<end], as: UTF8.self))
            } else {
                length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
                guard pending.count >= length else { return }
                show(String(decoding: pending[..<length], as: UTF8.self).unicodeScalars.first!)
            }
            pending.removeFirst(length)
        }
    }

    /// Where the code at the beginning ends; `nil` if it is not complete.
    private func escapeEnd() -> Int? {
        guard pending.count > 1 else { return nil }
        guard pending[1] == UInt8(ascii: "[") else { return 2 }
        return pending.dropFirst(2).firstIndex { (0x40...0x7E).contains($0) }.map { $0 + 1 }
    }

    private mutating func show(_ scalar: Unicode.Scalar) {
        switch scalar {
        case "\n":
            if row < rows - 1 {
                row += 1
            } else {
                cells = Array(cells.dropFirst()) + [Array(repeating: " ", count: columns)]
            }
        case "\r": column = 0
        case "\u{8}": column = max(0, column - 1)
        case "\u{7}": break
        default:
            #expect(scalar.value >= 0x20 && !(0x7F..<0xA0).contains(scalar.value), "a control character")
            put(scalar)
        }
    }

    private mutating func put(_ scalar: Unicode.Scalar) {
        if scalar.columns == 0 {
            if column > 0 { cells[row][column - 1].unicodeScalars.append(scalar) }
            return
        }
        if column + scalar.columns > columns {
            guard wraps else {
                column = columns
                return
            }
            show("\r")
            show("\n")
        }
        cells[row][column] = String(scalar)
        // The second half of a wide character.
        if scalar.columns == 2 { cells[row][column + 1] = "" }
        column += scalar.columns
    }

    private mutating func obey(_ code: String) {
        let final = code.last ?? " "
        let body = code.dropFirst().dropLast()
        let numbers = body.split(separator: ";", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        switch (final, body) {
        case ("H", _):
            row = min(rows, max(1, numbers.first ?? 1)) - 1
            column = min(columns, max(1, numbers.dropFirst().first ?? 1)) - 1
        case ("G", _): column = min(columns, max(1, numbers.first ?? 1)) - 1
        case ("K", "2"): cells[row] = Array(repeating: " ", count: columns)
        case ("J", "2"): cells = Self.blank(columns, rows)
        case ("m", _): colors.formUnion(numbers.filter { $0 >= 30 })
        case ("h", "?1049") where main == nil: (main, cells) = ((cells, row, column), Self.blank(columns, rows))
        case ("l", "?1049"):
            if let main { (cells, row, column) = main }
            main = nil
        case ("h", "?1049"): break
        case ("h", "?25"), ("l", "?25"): showsCaret = final == "h"
        case ("h", "?7"), ("l", "?7"): wraps = final == "h"
        default: Issue.record("a code that not every terminal knows: ESC \(code)")
        }
    }
}
