import LedgerCore
import Projections
import Texts

/// A job that is open, drawn.
extension TopModel {
    /// How many events the screen has room for.
    func eventRoom(at time: TopTime) -> Int { max(1, size.rows - 2 - jobHead(time).count) }

    func jobLines(_ time: TopTime) -> [Line] {
        let head = jobHead(time)
        guard let opened else { return head }
        guard let answer = opened.answer else { return head + [Line("  …", .dim)] }
        let room = eventRoom(at: time)
        let end = max(0, answer.events.count - opened.below)
        return head + answer.events[max(0, end - room)..<end].map(eventLine)
    }

    /// The lines above the events.
    private func jobHead(_ time: TopTime) -> [Line] {
        guard let opened else { return [] }
        let (row, figures) = (opened.row, figures(of: opened, time))
        var first = Line(" \(figures.status.shape) \(figures.status.rawValue)  ", figures.status.style)
        first.add(row.name, .bold)
        var lines = [first]
        var facts = ["job \(row.id)", row.kind]
        if let actor = row.actor { facts.append("by \(actor)") }
        if opened.answer?.row?.isTruncated ?? row.isTruncated { facts.append("truncated") }
        lines.append(Line("   " + facts.joined(separator: " · "), .dim))
        lines.append(progressLine(figures))
        lines.append(timesLine(row, figures, completedAt: opened.answer?.row?.completedAt ?? row.completedAt))
        if let error = opened.answer?.row?.error ?? row.error { lines += errorLines(error) }
        lines.append(eventsHeading(opened))
        return lines
    }

    private func figures(of opened: Opened, _ time: TopTime) -> JobFigures {
        let time = pausedAt?.time ?? time
        var row = opened.row
        if let known = opened.answer?.row {
            (row.status, row.completedAt) = (known.status, known.completedAt)
            (row.total, row.completed) = (known.total, known.completed)
        }
        if let last = opened.answer?.events.last { row.lastRecordedAt = max(row.lastRecordedAt, last.recordedAt) }
        return JobFigures(row, rate: meters[row.id]?.rate(at: time.seconds), at: time.now)
    }

    private func progressLine(_ figures: JobFigures) -> Line {
        var text = "   "
        if let fraction = figures.fraction, let percent = figures.percent {
            text += Shown.bar(fraction, width: min(50, max(8, size.columns - 56))) + " \(percent)  "
            text += "\(Shown.count(figures.completed)) of \(Shown.count(figures.total))"
        } else {
            text += "\(Shown.count(figures.completed)) done"
        }
        if let rate = figures.rate { text += "  \(Shown.rate(rate))" }
        if let left = figures.secondsLeft { text += "  \(Shown.duration(left)) left" }
        var line = Line(text)
        if let silence = figures.silence {
            line.add("  silent for \(Shown.duration(silence))", Style(.yellow, isBold: true))
        }
        return line
    }

    private func timesLine(_ row: TopJob, _ figures: JobFigures, completedAt: Timestamp?) -> Line {
        var facts = ["queued \(Shown.seconds(row.createdAt))"]
        if let startedAt = row.startedAt { facts.append("started \(Self.after(row.createdAt, startedAt))") }
        if let completedAt { facts.append("ended \(Self.after(row.createdAt, completedAt))") }
        if let took = figures.took { facts.append("took \(Shown.duration(took))") }
        return Line("   " + facts.joined(separator: "  "), .dim)
    }

    /// The time alone if it is of the same day.
    private static func after(_ first: Timestamp, _ time: Timestamp) -> String {
        let (one, other) = (Shown.seconds(first), Shown.seconds(time))
        return one.prefix(10) == other.prefix(10) ? String(other.dropFirst(11)) : other
    }

    /// An error may be a megabyte. As much is shown as leaves room for events: its beginning, and
    /// its last line, where a traceback says what it is about.
    private func errorLines(_ error: String) -> [Line] {
        let width = max(10, size.columns - 4)
        let most = max(1, (size.rows - 8) / 3)
        let texts = error.split(separator: "\n")
        var lines: [String] = []
        // No more than this can be shown.
        for text in texts.prefix(most + 1) where lines.count <= most {
            lines += Self.wrapped(text.shortened(toBytes: 4 * width * (most + 1)), to: width)
        }
        if lines.count > most {
            lines = Array(lines.prefix(most - 1)) + [String(texts.last ?? "").shortened(toColumns: width)]
        }
        return lines.map { Line("   " + $0, Style(.red)) }
    }

    private static func wrapped(_ text: String, to width: Int) -> [String] {
        var lines: [String] = []
        var (part, used) = (String.UnicodeScalarView(), 0)
        for scalar in text.unicodeScalars {
            if used + scalar.columns > width {
                lines.append(String(part))
                (part, used) = (String.UnicodeScalarView(), 0)
            }
            part.append(scalar)
            used += scalar.columns
        }
        return lines + [String(part)]
    }

    private func eventsHeading(_ opened: Opened) -> Line {
        var line = Line("   events", .bold)
        line.add("  times in UTC", .dim)
        let below = opened.below
        let isEnded = (opened.answer?.row?.completedAt ?? opened.row.completedAt) != nil
        let isFollowed = !isEnded && pausedAt == nil
        line.add(
            below > 0 ? " · \(below) more below" : isFollowed ? " · following" : "",
            .dim)
        return line
    }

    private func eventLine(_ event: OpenedJob.Event) -> Line {
        var line = Line("   ")
        if size.columns >= 60 { line.add(Shown.count(event.position).fitted(to: 11, trailing: true) + "  ", .dim) }
        let time = Shown.seconds(event.recordedAt)
        line.add((size.columns >= 80 ? time : String(time.dropFirst(11))) + "  ")
        line.add(event.type.rawValue.fitted(to: 9) + "  ", Self.style(of: event.type))
        line.add(event.data?.shortened(toBytes: 4 * size.columns) ?? "(large)")
        return line
    }

    private static func style(of type: EventType) -> Style {
        switch type {
        case .failed: Style(.red, isBold: true)
        case .finished: Style(.green)
        case .truncated: Style(.yellow)
        default: .plain
        }
    }
}
