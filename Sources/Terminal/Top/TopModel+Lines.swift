import LedgerCore
import Projections
import Texts

extension JobListQuery.Status {
    /// A shape, so that no colour is needed.
    var shape: String {
        switch self {
        case .queued: "○"
        case .running: "▸"
        case .finished: "✓"
        case .failed: "✗"
        }
    }

    var style: Style {
        switch self {
        case .queued: Style(isDim: true)
        case .running: Style(.cyan)
        case .finished: Style(.green)
        case .failed: Style(.red, isBold: true)
        }
    }
}

// MARK: The screen

extension TopModel {
    /// The screen: as many lines as it has, each as wide.
    package func lines(at time: TopTime) -> [Line] {
        var lines: [Line]
        switch view {
        case .list: lines = [titleLine(time)] + listLines(time)
        case .job: lines = [titleLine(time)] + jobLines(time)
        case .keys: lines = [titleLine(time)] + keyLines
        }
        lines = Array(lines.prefix(size.rows - 1))
        while lines.count < size.rows - 1 { lines.append(Line()) }
        lines.append(bottomLine(time))
        return lines.suffix(size.rows).map { $0.fitted(to: size.columns) }
    }

    private func titleLine(_ time: TopTime) -> Line {
        let (text, style) = linkText(time)
        let state = " \(text)  head \(Shown.count(head)) "
        var line = Line()
        let left = max(0, size.columns - state.columns)
        line.add(" jobledger top  \(ledger)".fitted(to: left), Style(isBold: true, isReversed: true))
        line.add(state, style)
        return line
    }

    private func linkText(_ time: TopTime) -> (String, Style) {
        switch link(at: time) {
        case .connecting: ("◌ connecting", Style(isReversed: true))
        case .live: ("● live", Style(.green, isReversed: true))
        case .behind(let count): ("◌ behind by \(Shown.count(count))", Style(.yellow, isBold: true, isReversed: true))
        case .away(let seconds):
            ("✗ away \(Shown.shortDuration(seconds.rounded(.down)))", Style(.red, isBold: true, isReversed: true))
        case .paused(let position):
            ("‖ paused at \(Shown.count(position))", Style(.yellow, isBold: true, isReversed: true))
        }
    }

    // MARK: The table

    private func listLines(_ time: TopTime) -> [Line] {
        var lines = [countsLine]
        if !conditionsText.isEmpty { lines.append(Line(" \(conditionsText)", Style(.yellow))) }
        let columns = TopColumns(width: size.columns)
        lines.append(columns.headings)
        let isBlank = isBlank(at: time)
        if !isBlank, rows.isEmpty, skipped == 0 { return lines + [Line(), Line("  \(nothingText)", .dim)] }
        let shownTime = pausedAt?.time ?? time
        for index in above..<above + room {
            guard !isBlank, let row = row(index) else {
                if !isBlank, let count = listCount, index >= count { break }
                lines.append(Line("  …", .dim))
                continue
            }
            let rate = meters[row.id]?.rate(at: shownTime.seconds)
            let isSelected = index == selected
            let line = columns.line(JobFigures(row, rate: rate, at: shownTime.now), isSelected: isSelected)
            lines.append(isSelected ? line.fitted(to: size.columns).reversed : line)
        }
        return lines
    }

    private var nothingText: String {
        conditions.text != nil
            ? "No job has this in its id, name or error. Esc clears it."
            : conditionsText.isEmpty ? "There are no jobs yet." : "No job meets the conditions."
    }

    private var countsLine: Line {
        var line = Line(" ")
        let isNarrow = size.columns < 76
        for status in JobListQuery.Status.shown {
            let count = counts.map { Shown.count($0[status]) } ?? "…"
            line.add(
                isNarrow ? "\(status.shape)\(count) " : "\(status.shape) \(count) \(status.rawValue)  ", status.style)
        }
        let sort =
            "\(isNarrow ? "" : "sorted by ")\(conditions.sort.rawValue) \(conditions.order == .ascending ? "↑" : "↓") "
        line.fill(to: size.columns - sort.columns)
        line.add(sort, .dim)
        return line
    }

    /// Which jobs are shown; empty for all.
    var conditionsText: String {
        var parts: [String] = []
        let shown = isRunningOnly ? [.running] : statuses
        if !shown.isEmpty {
            let names = JobListQuery.Status.shown.filter(shown.contains).map(\.rawValue)
            parts.append("only " + names.joined(separator: " or "))
        }
        if let text = conditions.text { parts.append("with “\(text)”") }
        if let kind = conditions.kind { parts.append("kind \(kind)") }
        if let actor = conditions.actor { parts.append("by \(actor)") }
        if let since = conditions.since { parts.append("since \(since)") }
        if let until = conditions.until { parts.append("until \(until)") }
        parts += conditions.variables.map { "variable \($0.name)\($0.value.map { " = \($0)" } ?? "")" }
        parts += conditions.metadata.map { "\($0.key) = \($0.value)" }
        if let isTruncated = conditions.isTruncated { parts.append(isTruncated ? "truncated" : "not truncated") }
        return parts.joined(separator: " · ")
    }

    // MARK: The last line

    private func bottomLine(_ time: TopTime) -> Line {
        if let typed {
            // The end of the text, where the typing happens.
            var text = typed.text.printable[...]
            while String(text).columns > size.columns - 4, !text.isEmpty { text = text.dropFirst() }
            var line = Line(" /\(text)", .bold)
            line.add("▏")
            let hint = "Enter keeps it, Esc does not "
            if line.columns + hint.columns + 2 <= size.columns {
                line.fill(to: size.columns - hint.columns)
                line.add(hint, .dim)
            }
            return line
        }
        if let problem, case .away = link(at: time) { return Line(" \(problem)", Style(.red, isBold: true)) }
        let hints: [String]
        switch view {
        case .list:
            hints = [
                "q quit", "? keys", "Enter open", "/ find", "f \(isRunningOnly ? "all" : "running")", "s sort",
                "p \(pausedAt == nil ? "pause" : "go on")", "↑↓ move",
            ]
        case .job: hints = ["Esc back", "? keys", "↑↓ scroll", "p \(pausedAt == nil ? "pause" : "go on")"]
        case .keys: hints = ["any key goes back"]
        }
        var line = Line(" ")
        for hint in hints where line.columns + hint.columns + 2 <= size.columns {
            let (key, rest) = (hint.prefix { $0 != " " }, hint.drop { $0 != " " })
            line.add(String(key), view == .list || view == .job ? .bold : .plain)
            line.add(rest + "  ", .dim)
        }
        return line
    }

    // MARK: The keys

    private var keyLines: [Line] {
        let keys: [(String, String)] = [
            ("↑ ↓  j k", "move"), ("PgUp PgDn", "a page"), ("g G", "first, last"), ("Enter", "open the job"),
            ("/", "find in id, name and error"), ("f", "running jobs only, or all"),
            ("s S", "sort by the next, the last"),
            ("r", "reverse the order"), ("p", "pause, or go on"), ("Esc", "back; clears the text"),
            ("Ctrl-Z", "suspend"),
            ("q", "quit; in a job: back"),
        ]
        return keys.map { key, what in
            var line = Line("  \(key)", .bold)
            line.fill(to: 13)
            line.add(what)
            return line
        }
    }
}
