/// Formats rows for people.
enum RowTable {
    private static let widths = [52, 10, 10, 6, 11, 11, 6, 7]
    private static let names = ["work", "ours", "baseline", "ratio", "least–most", "noise", "target", ""]

    static var header: String {
        aligned(names) + "\n" + String(repeating: "─", count: widths.reduce(0, +) + widths.count)
    }

    static func line(_ row: BenchRow) -> String {
        // The figures are in the last line of a long text.
        var lines = wrapped(row.work)
        lines.append(aligned([lines.removeLast()] + cells(row).dropFirst()))
        if row.hasFailed { lines.append("      \(row.note)") }
        return lines.joined(separator: "\n")
    }

    static func markdown(_ rows: [BenchRow]) -> String {
        var text = """
            | work | ours | baseline | ratio | least–most | noise | target | met | against | note |
            |---|--:|--:|--:|---|---|---|---|---|---|

            """
        for row in rows {
            text +=
                "| "
                + (cells(row) + [row.against, row.note]).map { $0.replacing("|", with: "\\|") }.joined(separator: " | ")
                + " |\n"
        }
        return text + """

            Ratio: median over the rounds of ours to the mean of the baseline before and after it. \
            Noise: the baseline after to the one before, least and greatest; what differs by less \
            is a tie.

            """
    }

    private static func cells(_ row: BenchRow) -> [String] {
        [
            row.work, amount(row.ours, row.unit), amount(row.baseline, row.unit), row.ratio.map { fixed($0) } ?? "",
            row.spread.map { range($0) } ?? "", row.noise.map { range($0) } ?? "", target(row.target),
            row.hasFailed ? "FAILED" : row.met.map { $0 ? "met" : "NOT MET" } ?? "",
        ]
    }

    private static func target(_ target: BenchRow.Target?) -> String {
        switch target {
        case .atLeast(let value): "≥ \(short(value))"
        case .atMost(let value): "≤ \(short(value))"
        case nil: ""
        }
    }

    private static func amount(_ value: Double?, _ unit: String) -> String {
        guard let value else { return "" }
        return switch unit {
        case "events/s": "\(grouped(Int(value.rounded())))/s"
        case "ms": "\(fixed(value)) ms"
        case "bytes": "\(Int(value.rounded())) B"
        default: "\(short(value.rounded(digits: 3))) \(unit)"
        }
    }

    private static func range(_ range: ClosedRange<Double>) -> String {
        "\(fixed(range.lowerBound))–\(fixed(range.upperBound))"
    }

    private static func short(_ value: Double) -> String { value == value.rounded() ? "\(Int(value))" : "\(value)" }

    /// With two decimals, or with three below 0.1.
    private static func fixed(_ value: Double) -> String {
        let places = value < 0.1 ? 1000.0 : 100.0
        let scaled = Int((value * places).rounded())
        let fraction = String(scaled % Int(places))
        return "\(scaled / Int(places))." + String(repeating: "0", count: (places == 100 ? 2 : 3) - fraction.count)
            + fraction
    }

    private static func grouped(_ number: Int) -> String {
        let digits = Array(String(number))
        return digits.indices.reduce(into: "") { text, index in
            if index > 0, (digits.count - index).isMultiple(of: 3) { text += "," }
            text.append(digits[index])
        }
    }

    private static func aligned(_ cells: [String]) -> String {
        zip(cells, widths).enumerated().map { index, pair in
            let space = String(repeating: " ", count: max(0, pair.1 - pair.0.count))
            // The work and the verdict are left-aligned, numbers are right-aligned.
            return index == 0 || index == cells.count - 1 ? pair.0 + space : space + pair.0
        }.joined(separator: " ")
    }

    /// Wraps the text to the first column; further lines are indented.
    private static func wrapped(_ work: String) -> [String] {
        work.split(separator: " ").reduce(into: [""]) { lines, word in
            if lines[lines.count - 1].count + 1 + word.count <= widths[0] {
                lines[lines.count - 1] += (lines[lines.count - 1].isEmpty ? "" : " ") + word
            } else {
                lines.append("  " + word)
            }
        }
    }
}
