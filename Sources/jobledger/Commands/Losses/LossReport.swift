import EventStore
import LedgerCore

/// What `lost` prints: ranges of positions, events, lines that cannot be read, and the totals. With
/// `--json` each is a line, and `what` says which it is.
struct LossReport {
    let json: Bool

    /// Positions that a reader had, and whose events are gone.
    struct Range: Sendable {
        var reader: String
        var place: Place
        var shared: Position
        var notedAt: String?
    }

    struct Source: Sendable {
        var file: String
        var line: Int
    }

    /// An event that is gone.
    struct Event: Sendable {
        enum Outcome: Sendable {
            case gone
            case appended(Position)
            case refused(Refusal)
            case incomplete
        }

        var event: RememberedEvent
        var source: Source
        /// The event that has its position now.
        var inPlace: EventID?
        var outcome = Outcome.gone

        init(event: RememberedEvent, source: Source, inPlace: EventID?) {
            (self.event, self.source, self.inPlace) = (event, source, inPlace)
        }
    }

    struct Totals: Sendable {
        var compared: Int64 = 0
        /// In the log, at whatever position.
        var there: Int64 = 0
        /// In the log, at another position than the remembered one.
        var elsewhere: Int64 = 0
        var gone: Int64 = 0
        var appendedAgain: Int64 = 0
        var refused: Int64 = 0
        /// Not appended again, because the file does not have the whole event.
        var incomplete: Int64 = 0
        var unreadable: Int64 = 0

        var leavesSomething: Bool { gone > appendedAgain || unreadable > 0 }
    }

    // MARK: Ranges

    private struct RangeLine: Encodable {
        let what = "range"
        var reader: String
        var place: String
        var shared: Position
        var from: Position
        var to: Position
        var notedAt: String?
    }

    func print(_ range: Range) throws {
        let (from, to) = (range.shared + 1, range.place.position)
        if json {
            return try Output.json(
                RangeLine(
                    reader: range.reader, place: range.place.text, shared: range.shared, from: from, to: to,
                    notedAt: range.notedAt))
        }
        let positions = from == to ? "position \(from) is gone" : "positions \(from)–\(to) are gone"
        let noted = range.notedAt.map { ", noted at \($0)" } ?? ""
        try Output.line(
            Output.printable("\(positions): \(range.reader) had come to \(range.place)\(noted)"))
    }

    // MARK: Events

    private struct LostLine: Encodable {
        let what = "event"
        var eventId: String
        var position: Position?
        var job: JobID?
        /// Of an event of another category than that of jobs, in place of the job.
        var category: String?
        var stream: JobID?
        var type: String?
        var file: String
        var line: Int
        /// `gone`, `appended_again`, `refused` or `incomplete`.
        var state: String
        var inPlace: String?
        var appendedAt: Position?
        var error: Append.ErrorAnswer.Body?
    }

    func print(_ lost: Event) throws {
        let event = lost.event
        let isOfJob = event.category == .job
        var line = LostLine(
            eventId: event.id.text, position: event.position, job: isOfJob ? event.job : nil,
            category: isOfJob ? nil : event.category.text, stream: isOfJob ? nil : event.job, type: event.type,
            file: lost.source.file, line: lost.source.line, state: "gone", inPlace: lost.inPlace?.text)
        var more = lost.inPlace.map { "; event \($0.text) has its position now" } ?? ""
        switch lost.outcome {
        case .gone: break
        case .appended(let position):
            (line.state, line.appendedAt) = ("appended_again", position)
            more = "; appended again at position \(position)"
        case .refused(let refusal):
            (line.state, line.error) = ("refused", Append.ErrorAnswer(refusal).error)
            more = "; not appended again: \(refusal)"
        case .incomplete:
            line.state = "incomplete"
            more = "; not appended again: the file does not have its data"
        }
        if json { return try Output.json(line) }
        let place = event.position.map { "position \($0), " } ?? ""
        let job = event.job.map { ", \(event.category) \($0)" } ?? ""
        let type = event.type.map { ", \($0)" } ?? ""
        let source = " (\(lost.source.file), line \(lost.source.line))"
        try Output.line(Output.printable("gone: \(place)event \(event.id.text)\(job)\(type)\(source)\(more)"))
    }

    private struct UnreadableLine: Encodable {
        let what = "unreadable"
        var file: String
        var line: Int
        var message: String
    }

    func print(unreadable message: String, at source: Source) throws {
        if json {
            return try Output.json(UnreadableLine(file: source.file, line: source.line, message: message))
        }
        Output.diagnostic(Output.printable("\(source.file), line \(source.line): \(message)"))
    }

    // MARK: The end

    private struct Summary: Encodable {
        let what = "summary"
        var head: Position
        var epoch: String
        /// The number of events that are known to be lost without a file.
        var knownLost: Int64
        var compared: Int64?
        var there: Int64?
        var elsewhere: Int64?
        var gone: Int64?
        var appendedAgain: Int64?
        var refused: Int64?
        var incomplete: Int64?
        var unreadable: Int64?
    }

    /// - Parameter totals: of the files; `nil` where there was none.
    func finish(_ totals: Totals?, _ ranges: [Range], _ log: LogHead) throws {
        let known = KnownLoss.count(
            ranges.map {
                KnownLoss(
                    reader: $0.reader, place: $0.place, shared: $0.shared, notedAt: Timestamp(microseconds: 0))
            })
        if json {
            return try Output.json(
                Summary(
                    head: log.position, epoch: log.epoch.text, knownLost: known, compared: totals?.compared,
                    there: totals?.there, elsewhere: totals?.elsewhere, gone: totals?.gone,
                    appendedAgain: totals?.appendedAgain, refused: totals?.refused, incomplete: totals?.incomplete,
                    unreadable: totals?.unreadable))
        }
        guard let totals else {
            return try Output.line(
                known == 0
                    ? "no loss is known; the log ends at position \(log.position)"
                    : "\(known) events are known to be lost; a file of what was acknowledged or read names them")
        }
        var text = "\(totals.compared) events compared, \(totals.there) in the log"
        if totals.elsewhere > 0 { text += " (\(totals.elsewhere) at another position)" }
        text += ", \(totals.gone) gone"
        if totals.appendedAgain + totals.refused + totals.incomplete > 0 {
            text += ": \(totals.appendedAgain) appended again, \(totals.refused) refused, "
            text += "\(totals.incomplete) incomplete"
        }
        if totals.unreadable > 0 { text += ", \(totals.unreadable) lines not read" }
        try Output.line(text)
    }
}
