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
        struct Stream: Encodable {
            var category: String
            var stream: JobID
            var events: Int
        }
        var actor: ExactText
        var counted: Int
        var whole: Bool
        var types: [String: Int]  // plain: names of event types, those of jobs
        /// The types of other categories, by category.
        var categories: [String: [String: Int]]?  // plain: names of categories and types
        var first: TrailLine
        var latest: [TrailLine]
        var jobs: [Job]
        var streams: [Stream]?
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
            return try Output.json(answer(story))
        }
        let count =
            story.isComplete
            ? "\(story.counted) event\(story.counted == 1 ? "" : "s")"
            : "at least \(story.counted) events; this summary covers the newest \(story.counted)"
        try Output.line(Output.printable("\(actor): \(count)"))
        let counts = story.counts.map { count in
            "\(count.count) \(count.category == .job ? "" : "\(count.category) ")\(count.type.rawValue)"
        }
        try Output.line("  " + counts.joined(separator: ", "))
        try Output.line(
            "  from \(TrailTable.seconds(story.first.happenedAt)) to \(TrailTable.seconds(latest.happenedAt))")
        try Output.line(story.streams.allSatisfy { $0.stream.category == .job } ? "jobs" : "jobs and other streams")
        for (stream, count) in story.streams {
            try Output.line(Output.printable("  \(TrailTable.cut(stream.listed, 60))  \(count)"))
        }
        try Output.line("latest")
        for line in TrailTable.lines(story.latest) { try Output.line("  " + line) }
    }

    private func answer(_ story: ActorSummary) -> Answer {
        func types(_ counts: [ActorSummary.TypeCount]) -> [String: Int] {  // plain: names of types, plain ASCII
            Dictionary(uniqueKeysWithValues: counts.map { ($0.type.rawValue, $0.count) })
        }
        let categories = Dictionary(grouping: story.counts.filter { $0.category != .job }, by: \.category.text)
        let jobs = story.streams.filter { $0.stream.category == .job }
        let streams = story.streams.filter { $0.stream.category != .job }
        return Answer(
            actor: actor, counted: story.counted, whole: story.isComplete,
            types: types(story.counts.filter { $0.category == .job }),
            categories: categories.isEmpty ? nil : categories.mapValues(types), first: TrailLine(story.first),
            latest: story.latest.map(TrailLine.init),
            jobs: jobs.map { .init(job: $0.stream.id, events: $0.count) },
            streams: streams.isEmpty
                ? nil
                : streams.map { .init(category: $0.stream.category.text, stream: $0.stream.id, events: $0.count) })
    }
}
