import Texts

/// A table for people: columns as wide as what is in them, empty ones left out.
package struct TextTable: Sendable {
    package struct Column: Sendable {
        package var name: String
        package var cells: [String]
        /// Numbers stand at the right, so that digits of the same weight stand below each other.
        package var isNumber: Bool
        /// Longer cells are cut.
        package var widest: Int

        package init(_ name: String, _ cells: [String], isNumber: Bool = false, widest: Int = 28) {
            (self.name, self.cells, self.isNumber, self.widest) = (name, cells, isNumber, widest)
        }
    }

    package var columns: [Column]

    package init(_ columns: [Column]) { self.columns = columns }

    /// The lines, headings first; none if there are no rows.
    package var lines: [String] {
        let shown = columns.filter { column in column.cells.contains { !$0.isEmpty } }
        guard let count = shown.first?.cells.count else { return [] }
        let cells = shown.map { column in
            // A cell is one line, whatever the text has.
            ([column.name] + column.cells).map { $0.shortened(toColumns: column.widest) }
        }
        let widths = cells.map { $0.map(\.columns).max() ?? 0 }
        return (0...count).map { row in
            var line = ""
            for (index, column) in shown.enumerated() {
                line += cells[index][row].fitted(to: widths[index], trailing: column.isNumber) + "  "
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

/// Numbers and times for people.
package enum Shown {
    /// `1,234,567`
    package static func count(_ number: Int64) -> String {
        let digits = String(number.magnitude)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text += "," }
            text.append(digit)
        }
        return (number < 0 ? "-" : "") + text
    }

    /// `12.3 s`, `4 min 5 s`, `3 h 20 min`, `12 d 4 h`: the two largest units.
    package static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite else { return "" }
        let seconds = min(max(0, seconds), 1e11)
        if seconds < 10 { return "\((seconds * 10).rounded(.down) / 10) s" }
        let whole = Int64(seconds)
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return pair(whole / 60, "min", whole % 60, "s") }
        if whole < 86_400 { return pair(whole / 3600, "h", whole % 3600 / 60, "min") }
        return pair(whole / 86_400, "d", whole % 86_400 / 3600, "h")
    }

    private static func pair(_ one: Int64, _ unit: String, _ other: Int64, _ smaller: String) -> String {
        other == 0 ? "\(one) \(unit)" : "\(one) \(unit) \(other) \(smaller)"
    }

    /// The same in at most six columns: `9.5s`, `4m05`, `3h20`, `12d`.
    package static func shortDuration(_ seconds: Double) -> String {
        guard seconds.isFinite else { return "" }
        let seconds = min(max(0, seconds), 9999 * 86_400)
        if seconds < 10 { return "\((seconds * 10).rounded(.down) / 10)s" }
        let whole = Int64(seconds)
        if whole < 60 { return "\(whole)s" }
        if whole < 3600 { return "\(whole / 60)m\(twoDigits(whole % 60))" }
        if whole < 86_400 { return "\(whole / 3600)h\(twoDigits(whole % 3600 / 60))" }
        return "\(whole / 86_400)d"
    }

    private static func twoDigits(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }

    /// `0.4/s`, `41/s`, `12.3k/s`: at most eight columns.
    package static func rate(_ perSecond: Double) -> String {
        guard perSecond.isFinite, perSecond >= 0 else { return "" }
        func tenths(_ number: Double) -> String { "\((number * 10).rounded() / 10)" }
        return switch perSecond {
        case ..<0.05: perSecond == 0 ? "0/s" : "<0.1/s"
        case ..<9.95: "\(tenths(perSecond))/s"
        case ..<9999.5: "\(Int(perSecond.rounded()))/s"
        case ..<999_950: "\(tenths(perSecond / 1000))k/s"
        default: "\(tenths(min(perSecond, 1e12) / 1_000_000))M/s"
        }
    }

    /// `████░░░░`. Full only when all is done.
    package static func bar(_ fraction: Double, width: Int) -> String {
        let fraction = fraction.isFinite ? min(max(0, fraction), 1) : 0
        let filled = Int(fraction * Double(width))
        return String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
    }

    /// `2026-11-23 20:45:01`, in UTC, of RFC 3339.
    package static func seconds(_ time: some CustomStringConvertible) -> String {
        String("\(time)".prefix { $0 != "." && $0 != "Z" }).replacing("T", with: " ")
    }
}
