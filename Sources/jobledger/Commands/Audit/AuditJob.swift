import ArgumentParser
import AuditTrail
import EventStore
import LedgerCore
import LedgerSettings
import Seal

struct AuditJob: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "job",
        abstract: "Tell the story of a job.",
        discussion: """
            Who did what in the order in which it was recorded; progress that one actor reports in a row is one line. With --prove, checks all \
            of the log against the seal besides, and shows that these events, and no others, are the job's; `audit prove --job` makes the proof to \
            give away.

            EXAMPLE
              jobledger audit job backtest-7
              jobledger audit job backtest-7 --prove
            """)

    @Argument(help: "The job's id.")
    var job: JobID

    @Flag(help: "Show by the seal that these events, and no others, are the job's.")
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
        var job: JobID
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
        guard let story = try await AuditTrail(store).timeline(ofJob: job) else {
            Output.diagnostic("unknown_job: job \(Output.printable(job)) has no events that are projected")
            throw Failure.refused
        }
        let proof = prove ? try await JobCompleteness(store, key: try settings.verifierKey(nil)).check(job) : nil
        await store.close()
        if options.json { try json(story, proof) } else { try print(story, proof) }
    }

    private func json(_ story: JobTimeline, _ proof: JobCompleteness.Answer?) throws {
        try Output.json(
            Answer(
                job: job, events: story.events, actors: story.actors, ended: story.end?.type.rawValue,
                leftOut: story.omitted,
                lines: story.lines.map { line in
                    .init(
                        first: TrailLine(line.first), last: line.count > 1 ? TrailLine(line.last) : nil,
                        count: line.count)
                },
                proof: proof.map { .init(sealed: $0.sealed, events: $0.events, whole: $0.isWhole) }))
    }

    private func print(_ story: JobTimeline, _ proof: JobCompleteness.Answer?) throws {
        let who = story.actors.isEmpty ? "" : ", by \(story.actors.map(\.text).joined(separator: ", "))"
        try Output.line(Output.printable("\(job): \(story.events) event\(story.events == 1 ? "" : "s")\(who)"))
        // A cause within the job is told by its position.
        let places = Dictionary(
            story.lines.flatMap { [$0.first, $0.last] }.map { (ExactText($0.eventID.text), "position \($0.position)") },
            uniquingKeysWith: { $1 })
        var before: Timestamp?
        for line in story.lines {
            let (first, last) = (line.first, line.last)
            let pause = before.map { Self.duration(from: $0, to: first.happenedAt) } ?? ""
            var text =
                "\(first.type.rawValue)\(line.count > 1 ? " ×\(line.count)" : "")\(first.actor.map { " by \($0)" } ?? "")"
            if let detail = last.detail { text += ": \(TrailTable.cut(detail, 70))" }
            if first.occurredAt != nil { text += "  (recorded \(TrailTable.seconds(first.recordedAt)))" }
            if let source = first.source { text += "  from \(source)" }
            if let cause = first.causationID { text += "  because of \(places[cause] ?? cause.text)" }
            try Output.line(
                "  \(TrailTable.seconds(first.happenedAt))  \(pause.padded(to: 9))"
                    + "\(first.position)".padded(to: 8) + Output.printable(text))
            before = last.happenedAt
        }
        if story.omitted > 0 { Output.diagnostic("\(story.omitted) events in the middle are left out") }
        try Output.line(
            story.end.map { "it \($0.type == .failed ? "failed" : "finished") at position \($0.position)" }
                ?? "it has not ended")
        guard let proof else { return }
        try Output.line(
            "the seal holds for all \(proof.sealed) events that are sealed, and \(proof.events) of them are this job's, and no others"
                + (proof.isWhole ? ": its whole life" : "; it had not ended by then"))
        if proof.events < story.events {
            try Output.line("\(story.events - proof.events) of its events are not sealed yet")
        }
    }

    /// `+1.5 s`, in the unit that suits it.
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
