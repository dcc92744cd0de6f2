import LedgerCore
import Projections

/// What is shown of a job, calculated.
struct JobFigures {
    var id: JobID
    var name: String
    var status: JobListQuery.Status
    var actor: ExactText?
    var total: Int64
    var completed: Int64
    /// From 0 to 1; `nil` where the total is not known.
    var fraction: Double?
    /// Completed a second, of a running job.
    var rate: Double?
    var secondsLeft: Double?
    var took: Double?
    /// For how long a running job has said nothing, if that is long.
    var silence: Double?

    /// A job that has said nothing for so long stands out.
    private static let longSilence = 300.0

    /// - Parameter rate: as it was watched; `nil` to calculate it from the job's beginning.
    init(_ row: TopJob, rate watched: Double?, at now: Timestamp) {
        (id, name, status, actor) = (row.id, row.name, row.status, row.actor)
        (total, completed) = (row.total, row.completed)
        let start = row.startedAt ?? row.createdAt
        switch status {
        case .queued: break
        case .running: took = Self.seconds(from: start, to: now)
        case .finished, .failed: took = row.completedAt.map { Self.seconds(from: start, to: $0) }
        }
        update(rate: watched)
        if status == .running {
            let silence = Self.seconds(from: row.lastRecordedAt, to: now)
            if silence > Self.longSilence { self.silence = silence }
        }
    }

    /// Calculates what depends on the numbers.
    mutating func update(rate watched: Double?) {
        fraction = total > 0 ? min(1, Double(completed) / Double(total)) : nil
        (rate, secondsLeft) = (nil, nil)
        guard status == .running else { return }
        // The first progress may report much at once, so a short time says little.
        rate = watched ?? took.flatMap { $0 >= 1 ? Double(completed) / $0 : nil }
        if let rate, rate > 0, total > completed { secondsLeft = Double(total - completed) / rate }
    }

    static func seconds(from start: Timestamp, to end: Timestamp) -> Double {
        max(0, Double(end.microseconds - start.microseconds) / 1e6)
    }

    /// `62 %`: all of it only when all is done.
    var percent: String? { fraction.map { "\(Int($0 * 100))%" } }
}

/// The columns of the table, chosen by the width of the screen.
struct TopColumns {
    private struct Column {
        var name: String
        var width: Int
        var isNumber = false
        /// The spaces before it.
        var gap = 2
        var text: (JobFigures) -> (String, Style)
    }

    private var columns: [Column] = []
    init(width: Int) {
        let gap = width < 100 ? 1 : 2
        let bar = width >= 110 ? 24 : width >= 74 ? 8 : 0
        columns.append(
            Column(name: "state", width: 10) { ("\($0.status.shape) \($0.status.rawValue)", $0.status.style) })
        columns.append(Column(name: "name", width: 0, gap: gap) { ($0.name, .plain) })
        columns.append(
            Column(name: width < 48 ? "done" : "progress", width: bar == 0 ? (width < 48 ? 5 : 8) : bar + 5) {
                (Self.progress($0, bar: bar), .plain)
            })
        if width >= 62 { columns.append(Column(name: "rate", width: 8, isNumber: true, gap: gap, text: Self.rate)) }
        columns.append(Column(name: "left", width: 6, isNumber: true, gap: gap, text: Self.left))
        if width >= 54 {
            columns.append(
                Column(name: "took", width: 6, isNumber: true, gap: gap) {
                    ($0.took.map(Shown.shortDuration) ?? "", .plain)
                })
        }
        if width >= 76 {
            let actor = min(20, 8 + max(0, width - 80) / 6)
            columns.append(Column(name: "actor", width: actor) { ($0.actor?.text ?? "", .dim) })
        }
        let others = columns.map { $0.width + $0.gap }.reduce(0, +)
        columns[1].width = max(4, width - others)
    }

    private static func progress(_ job: JobFigures, bar: Int) -> String {
        guard let fraction = job.fraction, let percent = job.percent else {
            return job.completed > 0 ? Shown.count(job.completed) : ""
        }
        return bar == 0 ? percent : Shown.bar(fraction, width: bar) + percent.fitted(to: 5, trailing: true)
    }

    private static func rate(_ job: JobFigures) -> (String, Style) {
        job.silence == nil ? (job.rate.map(Shown.rate) ?? "", .plain) : ("silent", Style(.yellow, isBold: true))
    }

    private static func left(_ job: JobFigures) -> (String, Style) {
        if let silence = job.silence { return ("!" + Shown.shortDuration(silence), Style(.yellow, isBold: true)) }
        return (job.secondsLeft.map(Shown.shortDuration) ?? "", .plain)
    }

    var headings: Line {
        var line = Line()
        for column in columns {
            line.fill(to: line.columns + column.gap, .bold)
            line.add(column.name.fitted(to: column.width, trailing: column.isNumber), .bold)
        }
        return line
    }

    func line(_ job: JobFigures, isSelected: Bool) -> Line {
        var line = Line(isSelected ? "> " : "  ")
        for (index, column) in columns.enumerated() {
            if index > 0 { line.fill(to: line.columns + column.gap) }
            let (text, style) = column.text(job)
            line.add(text.fitted(to: column.width, trailing: column.isNumber), style)
        }
        return line
    }
}
