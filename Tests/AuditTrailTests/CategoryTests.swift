import AuditTrail
import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// The audit trail of streams of other categories than that of jobs.
struct CategoryTests {
    private static let user = Category("user")!
    private static let strategy = Category("strategy")!
    private static let plain = Category("plain")!

    /// A user registers and queues a job, which has the user's id; a strategy comes of it.
    private static func fill(_ trail: TrailLedger) async throws {
        try await trail.installCategories()
        let registered = try await trail.append(
            "x", EventType(rawValue: "registered")!, #"{"email":"ada@example.org"}"#, of: user, actor: "sign-up",
            belongs: "r-1")
        let queued = try await trail.append("x", .queued, #"{"name":"SMA"}"#, actor: "ada", cause: registered)
        try await trail.append(
            "s", EventType(rawValue: "saved")!, #"{"user_id":"x","name":"SMA"}"#, of: strategy, actor: "ada",
            cause: queued)
        try await trail.append("x", EventType(rawValue: "updated")!, of: user, actor: "ada")
        try await trail.append("x", .progress, #"{"completed":1}"#, actor: "ada")
        try await trail.append("x", EventType(rawValue: "removed")!, #"{"reason":"memory"}"#, of: user)
        // Types that jobs have too, and that mean something else here.
        for type in [EventType.queued, .progress, .progress, .failed] {
            try await trail.append("x", type, #"{"name":"SMA","error":"memory"}"#, of: plain, actor: "ada")
        }
        try await trail.project()
    }

    @Test("a list has the events of every category, or of one") func lists() async throws {
        try await TrailLedger.with { trail in
            try await Self.fill(trail)
            func positions(_ change: (inout TrailQuery) -> Void) async throws -> [Position] {
                var query = TrailQuery(order: .oldest)
                change(&query)
                return try await trail.trail.page(query).entries.map(\.position)
            }
            #expect(try await positions { _ in } == Array(1...10))
            #expect(try await positions { $0.category = Self.user } == [1, 4, 6])
            #expect(try await positions { $0.category = .job } == [2, 5])
            await #expect(throws: UnknownKind.self) { try await positions { $0.category = Category("nothing")! } }
            await #expect(throws: UnknownKind.self) {
                try await positions { ($0.category, $0.type) = (Self.user, .progress) }
            }
            await #expect(throws: UnknownKind.self) {
                try await trail.trail.timeline(of: StreamKey(Category("nothing")!, "x"))
            }
            // Without a category, a type and an id are of jobs.
            #expect(try await positions { $0.type = .progress } == [5])
            #expect(try await positions { $0.type = .failed } == [])
            #expect(try await positions { $0.job = "x" } == [2, 5])
            for (type, found) in [(EventType.progress, [8, 9]), (.failed, [10])] as [(EventType, [Position])] {
                #expect(try await positions { ($0.category, $0.type) = (Self.plain, type) } == found)
                #expect(
                    try await positions { ($0.category, $0.type, $0.actor) = (Self.plain, type, "ada") } == found)
            }
            #expect(try await positions { ($0.category, $0.job) = (Self.user, "x") } == [1, 4, 6])
            #expect(try await positions { ($0.category, $0.actor) = (Self.user, "ada") } == [4])
            #expect(try await positions { $0.correlationID = "r-1" } == [1])
        }
    }

    @Test("nothing from the data of other categories is kept or shown") func personalData() async throws {
        try await TrailLedger.with { trail in
            try await Self.fill(trail)
            var query = TrailQuery(order: .oldest)
            let entries = try await trail.trail.page(query).entries
            #expect(entries.map(\.detail) == [nil, "SMA", nil, nil, "1 done"] + Array(repeating: nil, count: 5))
            query.text = "memory"
            #expect(try await trail.trail.page(query).entries.isEmpty)
            query.text = "sma"
            #expect(try await trail.trail.page(query).entries.map(\.position) == [2])
            let rows = try await trail.ledger.store.pool.withConnection {
                try await $0.query("SELECT audit_log::text FROM audit_log WHERE category <> 'job'").map {
                    try $0.decode(0, as: String.self)
                }
            }
            #expect(rows.count == 8 && !rows.contains { $0.contains("example.org") || $0.contains("memory") })
        }
    }

    @Test("causes and consequences lead from one category to another") func why() async throws {
        try await TrailLedger.with { trail in
            try await Self.fill(trail)
            let why = try #require(try await trail.trail.why(.position(3)))
            #expect(why.event.stream == StreamKey(Self.strategy, "s"))
            #expect(why.causes.map(\.stream) == [StreamKey(.job, "x"), StreamKey(Self.user, "x")])
            let root = try #require(try await trail.trail.why(.position(1)))
            #expect(
                root.consequences.map { "\($0.depth) \($0.entry.stream.category) \($0.entry.stream.id)" }
                    == ["1 job x", "2 strategy s"])
        }
    }

    @Test("streams with one id have a story each, and end by their own rules") func stories() async throws {
        try await TrailLedger.with { trail in
            try await Self.fill(trail)
            let user = try #require(try await trail.trail.timeline(of: StreamKey(Self.user, "x")))
            #expect(user.lines.map { "\($0.first.type)" } == ["registered", "updated", "removed"])
            #expect(user.events == 3 && user.actors == ["sign-up", "ada"] && user.end?.position == 6)
            let job = try #require(try await trail.trail.timeline(of: StreamKey(.job, "x")))
            #expect(job.events == 2 && job.end == nil)
            // Progress is one line only of jobs.
            let plain = try #require(try await trail.trail.timeline(of: StreamKey(Self.plain, "x")))
            #expect(plain.lines.count == 4 && plain.end?.position == 10)
            let strategy = try #require(try await trail.trail.timeline(of: StreamKey(Self.strategy, "s")))
            #expect(strategy.end == nil)
            #expect(try await trail.trail.timeline(of: StreamKey(Self.strategy, "x")) == nil)

            let ada = try #require(try await trail.trail.summary(ofActor: "ada"))
            #expect(
                ada.counts.map { "\($0.count) \($0.category) \($0.type)" } == [
                    "1 job queued", "1 job progress", "1 plain failed", "2 plain progress", "1 plain queued",
                    "1 strategy saved", "1 user updated",
                ])
            #expect(ada.counted == 8)
            #expect(
                ada.streams.map { "\($0.count) \($0.stream.category) \($0.stream.id)" }
                    == ["4 plain x", "2 job x", "1 user x", "1 strategy s"])
        }
    }

    /// A service may be newer than the table, until a projector has rebuilt it.
    @Test("questions to a table of an older version say what to do") func olderTable() async throws {
        try await TrailLedger.with { trail in
            try await Self.fill(trail)
            let owner = try await trail.ledger.connect()
            try await owner.execute(
                script: """
                    ALTER TABLE audit_log RENAME stream_id TO job;
                    ALTER TABLE audit_log DROP COLUMN category
                    """)
            await owner.close()
            let error = await #expect(throws: AuditTrail.NotProjected.self) {
                try await trail.trail.page(TrailQuery())
            }
            #expect(error?.description.contains("of an older version") == true)
            await #expect(throws: AuditTrail.NotProjected.self) { try await trail.trail.why(.position(1)) }
            await #expect(throws: AuditTrail.NotProjected.self) { try await trail.trail.summary(ofActor: "ada") }
            await #expect(throws: AuditTrail.NotProjected.self) {
                try await trail.trail.timeline(of: StreamKey(.job, "x"))
            }
        }
    }
}
