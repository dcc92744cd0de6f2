import Diagnostics
import Foundation
import LedgerCore

/// The results of a run: printed row by row, and written to files at the end.
package actor Report {
    private let json: Bool
    private let isQuick: Bool
    private let showsProgress: Bool
    private let print: @Sendable (String) throws -> Void
    private var machine: Machine?
    private var rows: [BenchRow] = []
    private let started = Timestamp.now

    /// - Parameters:
    ///   - json: print one JSON object per row instead of a table.
    ///   - print: prints one line of the answer.
    package init(json: Bool, isQuick: Bool, showsProgress: Bool, print: @escaping @Sendable (String) throws -> Void) {
        self.json = json
        self.isQuick = isQuick
        self.showsProgress = showsProgress
        self.print = print
    }

    /// Whether every row could be measured.
    package var isWhole: Bool { !rows.contains { $0.hasFailed } }
    /// Whether no row was measured.
    package var isEmpty: Bool { rows.isEmpty }

    func begins(_ machine: Machine) throws {
        self.machine = machine
        guard !json else { return }
        try print(heading.joined(separator: "\n") + "\n\n" + RowTable.header)
    }

    func measuring(_ works: [String]) { progress("measuring: \(works.joined(separator: "; "))") }

    func progress(_ what: String) {
        guard showsProgress else { return }
        // Overwrites the last progress line; the next row removes it.
        StandardError.redraw(String(what.prefix(100)))
    }

    func add(_ row: BenchRow) throws {
        var row = row
        if isQuick { row.note = "QUICK, not a measurement. " + row.note }
        rows.append(row)
        progress("")
        try print(json ? Self.encoded(row) : RowTable.line(row))
    }

    /// Prints a summary in one line.
    func ends() throws {
        guard !json, !rows.isEmpty else { return }
        try print("\n" + summary)
    }

    private var summary: String {
        let (met, targets) = (rows.filter { $0.met == true }.count, rows.filter { $0.target != nil }.count)
        var text = "\(met) of \(targets) targets met"
        let failed = rows.filter(\.hasFailed).count
        if failed > 0 { text += ", \(failed) rows failed" }
        let noise = rows.compactMap(\.noise)
        if !noise.isEmpty {
            let (low, high) = (
                noise.map(\.lowerBound).median.rounded(digits: 2), noise.map(\.upperBound).median.rounded(digits: 2)
            )
            text += "; noise of the run, a baseline against itself: \(low)–\(high) (median of the rows' extremes)"
        }
        return text
    }

    /// Writes the results as JSON to `path`, and as a readable page beside it.
    package func write(to path: String) throws {
        let file = URL(filePath: path)
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        struct Results: Encodable {
            var date: String
            var quick: Bool
            var machine: Machine?
            var settings: [String: String]  // plain: names of settings, our own
            var rows: [BenchRow]
        }
        let encoder = Self.encoder
        encoder.outputFormatting.insert(.prettyPrinted)
        let results = Results(
            date: started.description, quick: isQuick, machine: machine, settings: Bench.settings, rows: rows)
        try encoder.encode(results).write(to: file, options: .atomic)
        let page =
            "# Results of `jobledger bench`\n\n" + heading.joined(separator: "  \n") + "\n\n" + RowTable.markdown(rows)
            + "\n\(summary)\n"
        try Data(page.utf8).write(to: file.deletingPathExtension().appendingPathExtension("md"), options: .atomic)
    }

    private var heading: [String] {
        var lines = [
            String(started.description.prefix(16)) + "Z"
                + (isQuick ? ", QUICK: sizes too small for the figures to mean anything" : "")
        ]
        if let machine {
            lines.append(
                """
                \(machine.cpu), \(machine.cores) cores, \(machine.memoryGB) GB, \(machine.disk), \
                Linux \(machine.kernel)
                """)
            lines.append(
                """
                jobledger \(machine.jobledger), Swift \(machine.swift), Postgres \
                \(machine.postgres), Redis \(machine.redis)
                """)
        }
        lines.append(Bench.settings.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ", "))
        return lines
    }

    private static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return encoder
    }

    private static func encoded(_ row: BenchRow) throws -> String {
        String(decoding: try encoder.encode(row), as: UTF8.self)
    }
}
