import LedgerCore

/// The last events that a command has shown, so that it can say which of them the ledger has lost.
struct ShownEvents {
    private struct Shown {
        var position: Position
        var id: EventID
        var category: Category
        var job: JobID
        var type: EventType
    }

    private struct Answer: Encodable {
        struct Gone: Encodable {
            var position: Position
            var eventId: String
            var job: JobID?
            /// Of an event of another category than that of jobs, in place of the job.
            var category: String?
            var stream: JobID?
            var type: String

            init(_ event: Shown) {
                (position, eventId, type) = (event.position, event.id.text, event.type.rawValue)
                if event.category == .job {
                    job = event.job
                } else {
                    (category, stream) = (event.category.text, event.job)
                }
            }
        }
        struct Diverged: Encodable {
            var place: String
            var shared: String
            var head: Position
        }
        var diverged: Diverged
        var gone: [Gone]
        /// Events before those of `gone` that were shown, and are gone as well.
        var more: Int
    }

    /// The most events that are remembered. A failover loses fewer, as far as it was measured.
    private static let most = 10_000

    private var shown: [Shown] = []
    /// The positions of events that are not remembered any more are at most this one.
    private var forgotten: (count: Int, last: Position) = (0, 0)

    mutating func add(_ event: FeedEvent) {
        // Forgetting many at once makes the cost of one constant.
        if shown.count == 2 * Self.most {
            forgotten = (forgotten.count + Self.most, shown[Self.most - 1].position)
            shown.removeFirst(Self.most)
        }
        shown.append(
            Shown(
                position: event.position, id: event.id, category: event.category, job: event.job, type: event.type))
    }

    /// Says what was shown and is gone, and forgets it.
    mutating func report(_ divergence: Divergence, json: Bool) throws {
        let gone = shown.filter { $0.position > divergence.shared.position }
        let more = forgotten.last > divergence.shared.position ? forgotten.count : 0
        shown.removeAll { $0.position > divergence.shared.position }
        if json {
            return try Output.json(
                Answer(
                    diverged: .init(
                        place: divergence.place.text, shared: divergence.shared.text, head: divergence.head),
                    gone: gone.map(Answer.Gone.init), more: more))
        }
        try Output.line(
            "the ledger has lost what it had behind position \(divergence.shared.position); going on after that")
        if more > 0 { try Output.line("gone: up to \(more) events before the following") }
        for event in gone {
            try Output.line(
                Output.printable(
                    "gone: position \(event.position), event \(event.id.text), \(event.category) \(event.job), "
                        + event.type.rawValue))
        }
    }
}
