import ArgumentParser
import AuditTrail
import EventStore
import LedgerCore
import LedgerSettings

struct AuditActor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "actor",
        abstract: "Show what an actor did.",
        discussion: """
            EXAMPLE
              jobledger audit actor ada
            """)

    @Argument(help: "The actor, as events name it.")
    var actor: ExactText

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        struct Job: Encodable {
            var job: JobID
            var events: Int
        }
        var actor: ExactText
        var counted: Int
        var whole: Bool
        var types: [String: Int]  // plain: names of event types
        var first: TrailLine
        var latest: [TrailLine]
        var jobs: [Job]
    }

    func run() async throws {
        let settings = try await options.settings()
        let store = try settings.store(connections: 1)
        let story = try await AuditTrail(store).summary(ofActor: actor)
        await store.close()
        guard let story, let latest = story.latest.first else {
            Output.diagnostic("the actor \(Output.printable(actor)) has no events here")
            throw Failure.refused
        }
        if options.json {
            return try Output.json(
                Answer(
                    actor: actor, counted: story.counted, whole: story.isComplete,
                    types: Dictionary(uniqueKeysWithValues: story.counts.map { ($0.type.rawValue, $0.count) }),
                    first: TrailLine(story.first), latest: story.latest.map(TrailLine.init),
                    jobs: story.jobs.map { .init(job: $0.job, events: $0.count) }))
        }
        let count =
            story.isComplete
            ? "\(story.counted) event\(story.counted == 1 ? "" : "s")"
            : "at least \(story.counted) events; this summary covers the newest \(story.counted)"
        try Output.line(Output.printable("\(actor): \(count)"))
        try Output.line("  " + story.counts.map { "\($0.count) \($0.type.rawValue)" }.joined(separator: ", "))
        try Output.line(
            "  from \(TrailTable.seconds(story.first.happenedAt)) to \(TrailTable.seconds(latest.happenedAt))")
        try Output.line("jobs")
        for (job, count) in story.jobs {
            try Output.line(Output.printable("  \(TrailTable.cut(job.text, 60))  \(count)"))
        }
        try Output.line("latest")
        for line in TrailTable.lines(story.latest) { try Output.line("  " + line) }
    }
}
