import ArgumentParser
import AuditTrail
import EventStore
import LedgerCore
import LedgerSettings
import Seal

struct AuditJob: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "job",
        abstract: "Show the history of a job, or of a stream of another category: who did what, and when.",
        discussion: """
            Lists the events in the order in which they were recorded. Progress that one actor reports several times \
            in a row is one line. --prove also checks the whole log against the seal, and shows that these are all \
            events of the job or stream. `audit prove --job` makes a proof that you can give away.

            EXAMPLE
              jobledger audit job backtest-7
              jobledger audit job backtest-7 --prove
              jobledger audit job --category user u-1
            """)

    @Argument(help: "The job's id, or that of the stream of another category.")
    var job: JobID

    @Option(
        help: ArgumentHelp("The category of the stream.", valueName: "category"),
        transform: CategoryOption.category)
    var category = Category.job

    @Flag(help: "Check against the seal that these are all events of the job or stream.")
    var prove = false

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        struct Line: Encodable {
            var first: TrailLine
            var last: TrailLine?
            var count: Int
        }
        struct Proof: Encodable {
            var sealed: Position
            var events: Int
            var whole: Bool
        }
        var job: JobID?
        var category: String?
        var stream: JobID?
        var events: Int
        var actors: [ExactText]
        var ended: String?
        var leftOut: Int
        var lines: [Line]
        var proof: Proof?
    }

    func run() async throws {
        let settings = try await options.settings()
        let store = try settings.store(connections: 2)
        let stream = StreamKey(category, job)
        guard let story = try await AuditTrail(store).timeline(of: stream) else {
            Output.diagnostic("unknown_job: \(stream.shown) has no projected events")
            throw Failure.refused
        }
        let proof = prove ? try await StreamCompleteness(store, key: try settings.verifierKey(nil)).check(stream) : nil
        await store.close()
        if options.json { try json(story, proof) } else { try print(story, proof) }
    }

    private func json(_ story: StreamTimeline, _ proof: StreamCompleteness.Answer?) throws {
        let (job, category, stream) = story.stream.members
        try Output.json(
            Answer(
                job: job, category: category, stream: stream, events: story.events,
                actors: story.actors, ended: story.end?.type.rawValue,
                leftOut: story.omitted,
                lines: story.lines.map { line in
                    .init(
                        first: TrailLine(line.first), last: line.count > 1 ? TrailLine(line.last) : nil,
                        count: line.count)
                },
                proof: proof.map { .init(sealed: $0.sealed, events: $0.events, whole: $0.isWhole) }))
    }

    private func print(_ story: StreamTimeline, _ proof: StreamCompleteness.Answer?) throws {
        let who = story.actors.isEmpty ? "" : ", by \(story.actors.map(\.text).joined(separator: ", "))"
        let count = "\(story.events) event\(story.events == 1 ? "" : "s")"
        try Output.line(Output.printable("\(story.stream.listed): \(count)\(who)"))
        // A cause within the same stream is shown as a position and not as an event id.
        let places = Dictionary(
            story.lines.flatMap { [$0.first, $0.last] }.map { (ExactText($0.eventID.text), "position \($0.position)") },
            uniquingKeysWith: { $1 })
        var before: Timestamp?
        for line in story.lines {
            let (first, last) = (line.first, line.last)
            let pause = before.map { Self.duration(from: $0, to: first.happenedAt) } ?? ""
            var text = first.type.rawValue
            if line.count > 1 { text += " ×\(line.count)" }
            if let actor = first.actor { text += " by \(actor)" }
            if let detail = last.detail { text += ": \(TrailTable.cut(detail, 70))" }
            if first.occurredAt != nil { text += "  (recorded \(TrailTable.seconds(first.recordedAt)))" }
            if let source = first.source { text += "  from \(source)" }
            if let cause = first.causationID { text += "  because of \(places[cause] ?? cause.text)" }
            try Output.line(
                "  \(TrailTable.seconds(first.happenedAt))  \(pause.padded(to: 9))"
                    + "\(first.position)".padded(to: 8) + Output.printable(text))
            before = last.happenedAt
        }
        if story.omitted > 0 { Output.diagnostic("\(story.omitted) events in the middle are not shown") }
        try Output.line(
            story.end.map { end in
                let how = category == .job ? (end.type == .failed ? "failed" : "finished") : "ended as \(end.type)"
                return "it \(how) at position \(end.position)"
            } ?? "it has not ended")
        if let proof { try print(proof, of: story) }
    }

    private func print(_ proof: StreamCompleteness.Answer, of story: StreamTimeline) throws {
        let what = category == .job ? "job" : "stream"
        try Output.line(
            "the seal holds for all \(proof.sealed) sealed events; exactly \(proof.events) of them are this \(what)'s: "
                + (proof.isWhole ? "the complete \(what)" : "the \(what) had not ended by then"))
        if proof.events < story.events {
            try Output.line("\(story.events - proof.events) of its events are not sealed yet")
        }
    }

    /// A duration such as `+1.5 s`, in a unit that keeps the number short.
    private static func duration(from start: Timestamp, to end: Timestamp) -> String {
        let seconds = Double(end.microseconds - start.microseconds) / 1_000_000
        let (size, unit): (Double, String) =
            switch abs(seconds) {
            case ..<1: (seconds * 1000, "ms")
            case ..<120: (seconds, "s")
            case ..<7200: (seconds / 60, "min")
            case ..<172_800: (seconds / 3600, "h")
            default: (seconds / 86400, "d")
            }
        let tenths = "\((size * 10).rounded() / 10)".replacing(".0", with: "")
        return "\(size < 0 ? "" : "+")\(tenths) \(unit)"
    }
}
