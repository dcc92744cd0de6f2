import AuditTrail
import EventStore
import LedgerCore
import Postgres
import Projections

/// How long an auditor waits: the p99 of every kind of question, including the worst combinations,
/// on a log with millions of events.
enum AuditRows {
    static let loading =
        "audit_log from nothing, as a projector makes it of a long log: loaded, indexed, with its digest"
    /// The table has eight, of which events of jobs enter six.
    static let behind = "live projection of audit_log, a tenth more events behind, with its six indexes"
    private static let reading =
        "reading the same events: libpq, binary, all columns, windows of 10,000, nothing decoded"
    private static let byKey = "one event by its position"
    static func question(_ what: String) -> String { "audit, p99 of \(what)" }

    /// Asks one question; each number asks a different one.
    private typealias Ask = @Sendable (_ trail: AuditTrail, _ number: Int, _ fill: AuditLogFill) async throws -> Int

    private static func page(
        _ order: TrailQuery.Order = .newest, _ change: @escaping @Sendable (inout TrailQuery, Int, AuditLogFill) -> Void
    ) -> Ask {
        { trail, number, fill in
            var query = TrailQuery(order: order)
            change(&query, number, fill)
            return try await trail.page(query).entries.count
        }
    }

    /// A number that is unrelated to the one before it.
    private static func scattered(_ number: Int, below bound: Int) -> Int { number &* 7919 % bound }

    private static let questions: [(what: String, ask: Ask)] = [
        ("the newest events", page { _, _, _ in }),
        ("a busy actor", page { query, number, _ in query.actor = "actor-\(number % 3)" }),
        (
            "any actor",
            page { query, number, _ in query.actor = "actor-\(scattered(number, below: AuditLogFill.actors))" }
        ),
        ("an actor who is not there", page { query, number, _ in query.actor = "nobody-\(number)" }),
        ("failed", page { query, _, _ in query.type = .failed }),
        ("progress", page(.oldest) { query, _, _ in query.type = .progress }),
        (
            "failed by an actor",
            page { query, number, _ in
                query.actor = "actor-\(scattered(number, below: AuditLogFill.actors))"
                query.type = .failed
            }
        ),
        (
            "progress by an actor who did little",
            page { query, number, _ in
                query.actor = "actor-\(AuditLogFill.actors - 1 - number % 100)"
                query.type = .progress
            }
        ),
        ("a job", page { query, number, fill in query.job = "backtest-\(scattered(number, below: fill.jobs))" }),
        (
            "a request",
            page { query, number, fill in query.correlationID = "request-\(scattered(number, below: fill.jobs / 10))" }
        ),
        ("a word in a fifth of the events", page { query, _, _ in query.text = "done" }),
        ("a word in a fiftieth", page { query, _, _ in query.text = "strategy" }),
        ("a word in one of 500", page { query, number, _ in query.text = "T\(number % 97)" }),
        ("a word in one of 5,000", page { query, _, _ in query.text = "out of memory" }),
        ("a rare word", page { query, number, _ in query.text = "S\(scattered(number, below: 5000))" }),
        ("a word that is not there", page { query, number, _ in query.text = "nothing\(number)" }),
        (
            "a common word and an actor",
            page { query, number, _ in
                query.actor = "actor-\(scattered(number, below: AuditLogFill.actors))"
                query.text = "done"
            }
        ),
        (
            "two words and an actor, of which there are few",
            page { query, number, _ in
                query.actor = "actor-\(AuditLogFill.actors - 1 - number % 100)"
                query.text = "ticker T\(number % 97)"
            }
        ),
        (
            "a word that is common among another type",
            page { query, _, _ in
                query.type = .failed
                query.text = "memory"
            }
        ),
        (
            "a word and a type that never meet",
            page { query, _, _ in
                query.type = .failed
                query.text = "strategy"
            }
        ),
        (
            "an old stretch, the newest first",
            page { query, number, fill in
                query.from = Position(fill.events / 10 + number)
                query.to = Position(fill.events / 5)
            }
        ),
        (
            "an actor in an old stretch",
            page { query, number, fill in
                query.actor = "actor-\(scattered(number, below: AuditLogFill.actors))"
                query.to = Position(fill.events / 10)
            }
        ),
        (
            "a word in an old stretch",
            page { query, number, fill in
                query.text = "T\(number % 97)"
                query.from = Position(fill.events / 10)
                query.to = Position(fill.events / 10 + 5000)
            }
        ),
        (
            "why",
            { trail, number, fill in
                let why = try await trail.why(.position(Position(scattered(number, below: fill.events) + 1)))
                return (why?.causes.count ?? -1) + (why?.consequences.count ?? 0)
            }
        ),
        (
            "the story of a busy actor",
            { trail, number, _ in try await trail.summary(ofActor: "actor-\(number % 3)")?.latest.count ?? 0 }
        ),
        (
            "the story of a job",
            { trail, number, fill in
                let job = StreamKey(.job, "backtest-\(scattered(number, below: fill.jobs))")
                return try await trail.timeline(of: job)?.events ?? 0
            }
        ),
    ]

    static func measure(_ bench: Bench) async throws {
        let works = [loading, behind] + FoldLimits.works(AuditTrail.projection)
        try await bench.part(works + questions.map { question($0.what) }) { bench in
            try await bench.withLedger { ledger in
                let fill = AuditLogFill(events: bench.options.size(5_000_000, quick: 200_000))
                try await fill.fill(ledger, upTo: fill.events / 11 * 10)
                let loaded = try await project(ledger, from: 0)
                try await fill.fill(ledger, after: fill.events / 11 * 10)
                let rows = [
                    row(loading, loaded.ours, loaded.read, target: 0.15, note: "one run; two connections"),
                    try await live(ledger, from: Position(fill.events / 11 * 10)),
                ]
                return try await rows + limits(ledger) + ask(bench, ledger, fill)
            }
        }
    }

    private static func live(_ ledger: BenchLedger, from first: Position) async throws -> BenchRow {
        let rates = try await project(ledger, from: first)
        return row(behind, rates.ours, rates.read, target: 0.15, note: "one run")
    }

    /// The limits that a fold of all events cannot exceed.
    private static func limits(_ ledger: BenchLedger) async throws -> [BenchRow] {
        let (bare, head, table) = (try await ledger.bare(), try await ledger.head(), AuditTrail.projection)
        let read = try await Rate.of(Int(head)) { _ = try await bare.read(from: 1, to: head) }
        let inserted = try await FoldLimits.insertRate(table, of: Int(head), ledger)
        let parsed = try await FoldLimits.parseRate(table, of: Int(head), ledger)
        return [
            row(FoldLimits.inserting(table), inserted, read, note: "one run; reads no event and parses no JSON"),
            row(FoldLimits.parsing(table), parsed, read, note: "one run; writes nothing"),
        ]
    }

    private static func row(_ work: String, _ ours: Rate, _ read: Rate, target: Double? = nil, note: String) -> BenchRow
    {
        BenchRow(
            work, ours: ours.perSecond, baseline: read.perSecond, ratio: ours.perSecond / read.perSecond,
            target: target.map { .atLeast($0) }, against: reading, note: note)
    }

    /// Runs the real projector from `start` to the head, and reads the same events for comparison.
    private static func project(_ ledger: BenchLedger, from start: Position) async throws -> (ours: Rate, read: Rate) {
        guard let definition = try ProjectionDefinition.all(in: nil).first(where: { $0.name == AuditTrail.projection })
        else {
            throw BenchFailure("there is no projection \(AuditTrail.projection)")
        }
        try await ledger.settle()
        let (bare, head, store) = (try await ledger.bare(), try await ledger.head(), ledger.store(connections: 2))
        let read = try await Rate.of(Int(head - start)) { _ = try await bare.read(from: start + 1, to: head) }
        let projector = Projector(definition, store: store, url: ledger.url, logger: .bench)
        let folded = try await Rate.of(Int(head - start)) {
            try await during({ await projector.run() }) {
                try await until("audit_log has come to \(head)", within: .seconds(1800)) {
                    let state = try await ProjectionState.all(on: ledger.admin).first {
                        $0.name == AuditTrail.projection
                    }
                    if let error = state?.stopped?.error { throw BenchFailure("audit_log stopped: \(error)") }
                    return state?.position == head
                }
            }
        }
        await store.close()
        try await ledger.admin.execute(script: "VACUUM ANALYZE audit_log")
        return (folded, read)
    }

    private static func ask(_ bench: Bench, _ ledger: BenchLedger, _ fill: AuditLogFill) async throws -> [BenchRow] {
        let store = ledger.store(connections: 1)
        let trail = AuditTrail(store)
        let samples = bench.options.size(300, quick: 20)
        func milliseconds(_ body: (Int) async throws -> Void) async throws -> [Double] {
            // Warms up: every measured question has been asked before.
            for number in 0..<samples { try await body(number) }
            var times: [Double] = []
            for number in 0..<samples {
                let start = monotonicNanoseconds()
                try await body(number)
                times.append(Double(monotonicNanoseconds() - start) / 1e6)
            }
            return times
        }
        let control = try await milliseconds { number in
            let position = Position(scattered(number, below: fill.events) + 1)
            _ = try await store.page(EventQuery(after: position - 1, upTo: position))
        }.percentile(0.99)
        var rows: [BenchRow] = []
        for (what, ask) in questions where bench.options.wants(question(what)) {
            var found = 0
            let times = try await milliseconds { number in found = max(found, try await ask(trail, number, fill)) }
            rows.append(
                BenchRow(
                    question(what), ours: times.percentile(0.99), baseline: control, target: .atMost(50), unit: "ms",
                    against: byKey,
                    rounds: samples, note: "p50 \(times.median.rounded(digits: 3)) ms; up to \(found) found"))
        }
        await store.close()
        return rows
    }
}
