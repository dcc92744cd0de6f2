import AuditTrail
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Projections
import Testing
import Texts

/// A ledger with the read model `audit_log`, which folds when a test asks it to.
struct TrailLedger: Sendable {
    let ledger: TestLedger
    let trail: AuditTrail

    static func with(_ body: (TrailLedger) async throws -> Void) async throws {
        try await TestLedger.with { ledger in
            try await body(TrailLedger(ledger: ledger, trail: AuditTrail(ledger.store)))
        }
    }

    /// Brings the read model up to date.
    func project() async throws {
        let definition = try #require(try ProjectionDefinition.all().first { $0.name == AuditTrail.projection })
        let head = try await ledger.store.head()
        let projector = Projector(
            definition, store: ledger.store, url: ledger.url, window: 1000,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let running = Task { await projector.run() }
        _ = try await eventually("audit_log has come to \(head)") {
            try await ledger.store.pool.withConnection { connection in
                try await connection.query("SELECT FROM projections WHERE name = 'audit_log' AND position >= $1", head)
                    .isEmpty
                    ? nil : true
            }
        }
        running.cancel()
        await running.value
    }

    @discardableResult
    func append(
        _ stream: String, _ type: EventType, _ data: String = "{}", of category: Category = .job,
        actor: String? = nil, cause: EventID? = nil, belongs: String? = nil,
        id: EventID = .version7(), at time: Timestamp? = nil
    ) async throws -> EventID {
        let members = [("actor", actor), ("causation_id", cause?.text), ("correlation_id", belongs)].compactMap {
            name, value in
            value.map { "\"\(name)\":\"\($0)\"" }
        }
        let event = NewEvent(
            type: type.rawValue, data: data, metadata: "{\(members.joined(separator: ","))}", id: id, occurredAt: time)
        _ = try await ledger.store.append(event, to: JobID(stream), of: category)
        return id
    }

    /// Installs ``TestCategories``, and `plain`, whose types have names that jobs have too.
    func installCategories() async throws {
        let owner = try await ledger.connect()
        try await TestCategories.install(on: owner)
        try await TestCategories.install(
            """
            {"name": "plain",
             "life": {"": ["queued"], "queued": ["progress", "failed"], "progress": ["progress", "failed"],
                      "failed": []}}
            """, "1", "BEGIN RETURN null; END", on: owner)
        await owner.close()
    }
}

struct TrailTests {
    @Test func notProjected() async throws {
        try await TrailLedger.with { trail in
            await #expect(throws: AuditTrail.NotProjected.self) { try await trail.trail.page(TrailQuery()) }
            await #expect(throws: AuditTrail.NotProjected.self) { try await trail.trail.why(.position(1)) }
        }
    }

    private static let actors = ["ada", "bob", "eve \u{1F680}", ""]
    private static let words = ["memory", "Disk", "limit", "über"]
    private static let correlations = ["r-1", "r-2"]

    /// Random histories and random queries: the answer, page by page, has exactly the events to
    /// which the conditions apply.
    @Test func queries() async throws {
        let seed = UInt64.random(in: .min ... .max)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        try await TrailLedger.with { trail in
            try await trail.installCategories()
            try await Self.appendRandomEvents(400, to: trail, &random)
            try await trail.project()
            let events = try await trail.trail.page(TrailQuery(order: .oldest, limit: 1000)).entries
            #expect(events.map(\.position) == Array(1...400))
            let log = try await trail.ledger.store.page(EventQuery(limit: 1000))
            #expect(
                zip(events, log).allSatisfy { entry, event in
                    let isItsOwn: Bool =
                        entry.eventID == event.id && entry.stream == StreamKey(event.category, event.job)
                    return isItsOwn && entry.version == event.version && entry.recordedAt == event.recordedAt
                })
            for _ in 0..<60 {
                let query = Self.randomQuery(over: events, &random)
                var expected = events.filter { Self.matches($0, query) }
                if query.order == .newest { expected.reverse() }
                var (page, found): (TrailQuery, [TrailEntry]) = (query, [])
                while case let entries = try await trail.trail.page(page).entries, !entries.isEmpty {
                    #expect(entries.count <= query.limit)
                    found += entries
                    page.after = entries.last?.position
                }
                #expect(found == expected, "\(query)")
            }
        }
    }

    private static func appendRandomEvents(
        _ count: Int, to trail: TrailLedger, _ random: inout SeededGenerator
    ) async throws {
        var (open, plain): ([String], Set<String>) = ([], [])
        for number in 0..<count {
            let actor = Bool.random(using: &random) ? actors.randomElement(using: &random)! : nil
            let isCorrelated = Int.random(in: 0..<4, using: &random) == 0
            let belongs = isCorrelated ? correlations.randomElement(using: &random)! : nil
            let text = (0..<Int.random(in: 1...3, using: &random)).map { _ in words.randomElement(using: &random)! }
                .joined(separator: " ")
            // Half of the jobs share their id with a stream of another category.
            func append(_ job: String, _ type: EventType, _ data: String = "{}") async throws {
                try await trail.append(job, type, data, actor: actor, belongs: belongs)
            }
            if let job = open.randomElement(using: &random), Int.random(in: 0..<3, using: &random) == 0 {
                let isNew = plain.insert(job).inserted
                let data = #"{"name":"\#(text)","error":"\#(text)"}"#
                try await trail.append(
                    job, isNew ? .queued : .progress, data, of: try #require(Category("plain")), actor: actor,
                    belongs: belongs)
            } else if open.count < 5 || Int.random(in: 0..<5, using: &random) == 0 {
                let job = "job-\(number)"
                open.append(job)
                try await append(job, .queued, #"{"name":"\#(text)"}"#)
            } else {
                let index = Int.random(in: open.indices, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: try await append(open.remove(at: index), .failed, #"{"error":"\#(text)"}"#)
                case 1: try await append(open.remove(at: index), .finished)
                case 2: try await append(open[index], .truncated, #"{"reason":"\#(text)"}"#)
                default: try await append(open[index], .progress, #"{"completed":1}"#)
                }
            }
        }
    }

    /// A type that a category does not have is refused.
    private static let types: [Category: [EventType]] = [
        .job: EventType.jobTypes, Category("plain")!: [.queued, .progress],
        Category("user")!: ["registered", "removed"].compactMap(EventType.init(rawValue:)),
    ]

    private static func randomQuery(over events: [TrailEntry], _ random: inout SeededGenerator) -> TrailQuery {
        func sometimes<T>(_ value: T?) -> T? { Int.random(in: 0..<3, using: &random) == 0 ? value : nil }
        var query = TrailQuery(
            order: Bool.random(using: &random) ? .newest : .oldest, limit: Int.random(in: 1...50, using: &random))
        query.actor = sometimes(actors.randomElement(using: &random).map { ExactText($0) })
        query.category = sometimes([.job, Category("plain")!, Category("user")!].randomElement(using: &random))
        query.type = sometimes((types[query.category ?? .job] ?? []).randomElement(using: &random))
        query.job = sometimes(events.randomElement(using: &random)?.stream.id)
        query.correlationID = sometimes(correlations.randomElement(using: &random).map { ExactText($0) })
        query.text = sometimes(
            words.randomElement(using: &random).map { Bool.random(using: &random) ? $0.uppercased() : $0 })
        query.from = sometimes(Position.random(in: 1...400, using: &random))
        query.to = sometimes(Position.random(in: 1...400, using: &random))
        return query
    }

    private static func matches(_ event: TrailEntry, _ query: TrailQuery) -> Bool {
        // The detail of progress is how much is done, which is not a word that can be searched.
        let words = event.type == .progress ? [] : (event.detail ?? "").lowercased().split(separator: " ")
        let isOf: Bool = query.actor == nil || event.actor == query.actor
        let category = query.category ?? (query.type == nil && query.job == nil ? nil : .job)
        guard category == nil || event.stream.category == category else { return false }
        let isOfJob: Bool = query.job == nil || event.stream.id == query.job
        let belongs: Bool = query.correlationID == nil || event.correlationID == query.correlationID
        return isOf && isOfJob && belongs && (query.type == nil || event.type == query.type)
            && (query.text == nil || words.contains(Substring(query.text!.lowercased())))
            && event.position >= query.from ?? 0 && event.position <= query.to ?? .max
    }

    /// Names that are too long for an index do not stop the projection. They are found, and told
    /// apart even by their last character.
    @Test func longNames() async throws {
        try await TrailLedger.with { trail in
            let long = String((0..<30_000).map { _ in "abcdefghijklmnopqrstuvwxyz0123456789".randomElement()! })
            let names = [
                String(repeating: "é", count: 300), String(repeating: "é", count: 301), long, long.dropLast() + "A",
                "ada",
            ]
            for (number, name) in names.enumerated() {
                try await trail.append("job-\(number)", .queued, #"{"name":"x"}"#, actor: name, belongs: name)
            }
            try await trail.project()
            for (number, name) in names.enumerated() {
                for change in [{ $0.actor = ExactText(name) }, { $0.correlationID = ExactText(name) }]
                    as [(inout TrailQuery) -> Void]
                {
                    var query = TrailQuery()
                    change(&query)
                    #expect(
                        try await trail.trail.page(query).entries.map(\.position) == [Position(number + 1)],
                        "\(name.prefix(20))")
                }
                let entry = try #require(try await trail.trail.why(.position(Position(number + 1)))?.event)
                #expect(
                    (entry.actor?.text.unicodeScalars.count ?? 0) <= 300
                        && entry.actor?.text.hasPrefix(name.prefix(200)) == true)
                #expect(try await trail.trail.summary(ofActor: ExactText(name))?.counts.count == 1)
            }
        }
    }

    /// Events that come meanwhile do not change the pages: each earlier event is on one page.
    @Test func stablePages() async throws {
        try await TrailLedger.with { trail in
            for number in 0..<30 { try await trail.append("a-\(number)", .queued, #"{"name":"x"}"#, actor: "ada") }
            try await trail.project()
            var (query, seen): (TrailQuery, [Position]) = (TrailQuery(limit: 7), [])
            query.actor = "ada"
            while case let entries = try await trail.trail.page(query).entries, !entries.isEmpty {
                seen += entries.map(\.position)
                query.after = entries.last?.position
                try await trail.append("b-\(seen.count)", .queued, #"{"name":"x"}"#, actor: "ada")
                try await trail.project()
            }
            #expect(seen == Array((1...30).reversed()))
        }
    }

    @Test func why() async throws {
        try await TrailLedger.with { trail in
            let root = try await trail.append("root", .queued, #"{"name":"root"}"#, actor: "ada")
            let left = try await trail.append("left", .queued, #"{"name":"left"}"#, cause: root)
            let right = try await trail.append("right", .queued, #"{"name":"right"}"#, cause: root)
            let leaf = try await trail.append("left", .failed, #"{"error":"no"}"#, cause: left)
            try await trail.append("after", .queued, #"{"name":"after"}"#, cause: leaf)
            try await trail.append("lost", .queued, #"{"name":"lost"}"#, cause: .version7())
            // A circle: two events whose ids were chosen beforehand and name each other.
            let (one, two) = (EventID.version7(), EventID.version7())
            try await trail.append("one", .queued, #"{"name":"one"}"#, cause: two, id: one)
            try await trail.append("two", .queued, #"{"name":"two"}"#, cause: one, id: two)
            let own = EventID.version7()
            try await trail.append("own", .queued, #"{"name":"own"}"#, cause: own, id: own)
            try await trail.project()

            let why = try #require(try await trail.trail.why(.id(leaf)))
            #expect(
                why.event.position == 4 && why.causes.map(\.stream.id) == ["left", "root"] && why.outsideCause == nil
                    && !why.isCircular
            )
            #expect(why.consequences.map { $0.entry.stream.id } == ["after"])
            let whole = try #require(try await trail.trail.why(.position(1)))
            #expect(whole.causes.isEmpty && !whole.hasMore)
            #expect(
                whole.consequences.map { "\($0.depth) \($0.entry.stream.id)" }
                    == ["1 left", "2 left", "3 after", "1 right"])
            #expect(try await trail.trail.why(.id(right))?.consequences.isEmpty == true)
            #expect(try await trail.trail.why(.position(6))?.outsideCause != nil)
            let circle = try #require(try await trail.trail.why(.id(one)))
            #expect(
                circle.isCircular && circle.causes.map(\.stream.id) == ["two"]
                    && circle.consequences.map { $0.entry.stream.id } == ["two"])
            let itself = try #require(try await trail.trail.why(.id(own)))
            #expect(itself.isCircular && itself.causes.isEmpty && itself.consequences.isEmpty)
            #expect(try await trail.trail.why(.position(99)) == nil)
        }
    }

    /// An answer says so where there are more consequences, or more causes, than it has.
    @Test func whyIsBounded() async throws {
        try await TrailLedger.with { trail in
            let root = try await trail.append("root", .queued, #"{"name":"root"}"#)
            let metadata = #"{"causation_id":"\#(root.text)"}"#
            _ = try await trail.ledger.store.append(
                (0..<AuditTrail.mostConsequences + 5).map { number in
                    AppendRequest(
                        job: "many-\(number)",
                        events: [NewEvent(type: "queued", data: #"{"name":"x"}"#, metadata: metadata)])
                })
            var cause = try await trail.append("chain-0", .queued, #"{"name":"x"}"#)
            for number in 1...AuditTrail.mostSteps + 3 {
                cause = try await trail.append("chain-\(number)", .queued, #"{"name":"x"}"#, cause: cause)
            }
            try await trail.project()
            let wide = try #require(try await trail.trail.why(.position(1)))
            #expect(wide.consequences.count == AuditTrail.mostConsequences && wide.hasMore)
            let long = try #require(try await trail.trail.why(.id(cause)))
            #expect(long.causes.count == AuditTrail.mostSteps && long.hasMore)
        }
    }

    @Test func timelinesAndSummaries() async throws {
        try await TrailLedger.with { trail in
            try await trail.append(
                "a", .queued, #"{"name":"SMA","total":4}"#, actor: "ada", at: Timestamp("2026-01-01T10:00:00Z"))
            for completed in 1...3 {
                try await trail.append("a", .progress, #"{"completed":\#(completed)}"#, actor: "worker")
            }
            try await trail.append("b", .queued, #"{"name":"RSI"}"#, actor: "ada")
            try await trail.append("a", .progress, #"{"completed":4}"#, actor: "other")
            try await trail.append("a", .failed, #"{"error":"out of memory"}"#, actor: "worker")
            try await trail.project()
            let job = try #require(try await trail.trail.timeline(of: StreamKey(.job, "a")))
            #expect(
                job.lines.map { "\($0.first.type) \($0.count)" } == [
                    "queued 1", "progress 3", "progress 1", "failed 1",
                ])
            #expect(job.lines[1].last.detail == "3 done" && job.events == 6 && job.omitted == 0)
            #expect(job.actors == ["ada", "worker", "other"] && job.end?.detail == "out of memory")
            let open = try #require(try await trail.trail.timeline(of: StreamKey(.job, "b")))
            #expect(open.end == nil)
            #expect(try await trail.trail.timeline(of: StreamKey(.job, "none")) == nil)
            let worker = try #require(try await trail.trail.summary(ofActor: "worker"))
            #expect(worker.counts.map { "\($0.count) \($0.type)" } == ["3 progress", "1 failed"])
            #expect(worker.counted == 4 && worker.isComplete && worker.first.position == 2)
            #expect(worker.latest.map(\.position) == [7, 4, 3, 2] && worker.streams.map(\.stream.id) == ["a"])
            let ada = try #require(try await trail.trail.summary(ofActor: "ada"))
            #expect(ada.streams.map(\.stream.id) == ["b", "a"])
            #expect(try await trail.trail.summary(ofActor: "nobody") == nil)
        }
    }
}
