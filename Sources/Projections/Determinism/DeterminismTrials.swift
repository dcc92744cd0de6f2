import EventStore
import LedgerCore
import Postgres

/// Folds one history in many ways that must not matter, and compares what comes out.
///
/// The ways: windows of several sizes; the events of a window read in another order than the log's;
/// and, where each row depends on one stream, the streams in parts, as workers would fold them. The
/// histories: each case as it stands, and with the events of its jobs interleaved in other ways;
/// and a random one.
struct DeterminismTrials {
    private let definition: ProjectionDefinition
    private let ledger: ScratchLedger

    /// What came of it, and of how many folds.
    typealias Verdict = (diagnostics: [ProjectionDiagnostic], folds: Int)

    init(_ definition: ProjectionDefinition, _ ledger: ScratchLedger) {
        self.definition = definition
        self.ledger = ledger
    }

    private enum Way: CustomStringConvertible {
        case windows(Position)
        case shuffled(Position)
        case parts(Int)

        var description: String {
            switch self {
            case .windows(let size):
                "windows of \(size) \(size == 1 ? "event" : "events") give other rows than one window"
            case .shuffled(let size):
                size == .max
                    ? "other rows come out when a window's events are read in another order"
                    : "other rows come out when the events are read in another order, in windows of \(size)"
            case .parts(let count):
                "the streams folded in \(count) parts give other rows than all at once, as \"key\": \"stream_id\" says they may be"
            }
        }
    }

    private var ways: [Way] {
        let all: [Way] = [.windows(1), .windows(2), .windows(3), .windows(7), .shuffled(.max), .shuffled(5)]
        return definition.key == .stream ? all + [.parts(2), .parts(3)] : all
    }

    // MARK: Histories

    func run(_ name: String, case text: String) async throws -> Verdict {
        let jobs: [JobID]
        do {
            jobs = try await ledger.undone {
                try await ledger.connection.query(
                    "SELECT coalesce(event ->> 'job', '') FROM json_array_elements($1::json -> 'events') WITH ORDINALITY AS given (event, ordinal) ORDER BY ordinal",
                    text
                ).map { try $0.decode(0) }
            }
        } catch let error as PostgresError where error.kind == .server {
            let instead = "A case is JSON with \"events\" and \"expect\": see docs/projections.md."
            return ([ProjectionDiagnostic(place: name, what: "\(error)", instead: instead)], 0)
        }
        var all: Verdict = ([], 0)
        for (order, places) in Self.interleavings(of: jobs) where all.diagnostics.isEmpty {
            let verdict = try await compare(name + order) { try await ledger.append(text, order: places) }
            all = (verdict.diagnostics, all.folds + verdict.folds)
        }
        return all
    }

    func runRandomHistory() async throws -> Verdict {
        let history = RandomHistory()
        return try await compare("a random history") {
            try await ledger.connection.query(
                "SELECT count(*) FROM append($1, $2, $3, $4, occurred_ats => $5)", history.jobs, history.types,
                history.data,
                history.metadata, history.moments)
        }
    }

    /// Orders in which each job's events keep their own; numbers from 1.
    static func interleavings(of jobs: [JobID]) -> [(name: String, places: [Int])] {
        var byJob: [[Int]] = []
        var number: [JobID: Int] = [:]
        for (index, job) in jobs.enumerated() {
            if number[job] == nil {
                number[job] = byJob.count
                byJob.append([])
            }
            byJob[number[job]!].append(index + 1)
        }
        func merged(_ choose: (Int, [Int]) -> Int) -> [Int] {
            var rest = byJob.map { $0[...] }
            return (0..<jobs.count).map { turn in
                let open = rest.indices.filter { !rest[$0].isEmpty }
                return rest[choose(turn, open)].removeFirst()
            }
        }
        var last = -1
        let inTurn = merged { _, open in
            last = open.first { $0 > last } ?? open[0]
            return last
        }
        let orders = [
            ("", Array(1...max(1, jobs.count)).prefix(jobs.count).map(\.self)),
            (", one job after another", byJob.flatMap(\.self)),
            (", the last job first", byJob.reversed().flatMap(\.self)), (", the jobs in turn", inTurn),
            (", the jobs mixed", merged { turn, open in open[(turn * 7 + turn / 3) % open.count] }),
        ]
        return orders.reduce(into: []) { kept, order in
            if !kept.contains(where: { $0.places == order.1 }) { kept.append((order.0, order.1)) }
        }
    }

    // MARK: Folding

    private func compare(_ name: String, append: () async throws -> Void) async throws -> Verdict {
        try await ledger.undone { () async throws -> Verdict in
            var verdict: Verdict = ([], 0)
            do {
                try await append()
                let head = try await ledger.head()
                let reference = try await fold(.windows(max(1, head)), into: "r", head)
                for way in ways {
                    let differences = try await ledger.undone {
                        try await told(of: fold(way, into: "c", head), reference)
                    }
                    verdict.folds += 1
                    guard !differences.isEmpty else { continue }
                    verdict.diagnostics.append(
                        ProjectionDiagnostic(
                            place: name, what: ([way.description] + differences).joined(separator: "\n    "),
                            instead:
                                "Let each row depend on the events alone, and not on how they are cut into windows or read."
                        )
                    )
                }
            } catch let error as PostgresError where error.kind == .server {
                verdict.diagnostics.append(
                    ProjectionDiagnostic(place: name, what: "\(error)", instead: "Such events must be folded too."))
            }
            return verdict
        }
    }

    private func fold(_ way: Way, into suffix: String, _ head: Position) async throws -> Fold {
        let fold = Fold(definition, ledger: ledger.name, schema: ledger.schema(suffix))
        try await ledger.connection.execute(script: "CREATE SCHEMA \"\(fold.schema)\"")
        try await fold.createTables(on: ledger.connection)
        func apply(windowsOf size: Position) async throws {
            for start in stride(from: 0, to: head, by: Int(min(size, max(1, head)))) {
                try await fold.apply(after: start, upTo: min(head, start + min(size, head)), on: ledger.connection)
            }
        }
        switch way {
        case .windows(let size): try await apply(windowsOf: size)
        case .shuffled(let size):
            try await readOtherwise("true")
            try await apply(windowsOf: size)
        case .parts(let count):
            for part in 0..<count {
                try await readOtherwise("abs(hashtext(stream_id) % \(count)) = \(part)")
                try await fold.apply(after: 0, upTo: head, on: ledger.connection)
                try await ledger.connection.execute(script: "DROP VIEW pg_temp.new_events")
            }
        }
        return fold
    }

    /// Some of a window's events, in an order that has nothing to do with the log's. They are those
    /// of the ledger's own `new_events`: what a column is, its collation too, is what it is in
    /// production.
    private func readOtherwise(_ condition: String) async throws {
        try await ledger.connection.execute(
            script: """
                CREATE TEMPORARY VIEW new_events AS
                  SELECT * FROM "\(ledger.name)".new_events WHERE \(condition) ORDER BY md5(position::text) OFFSET 0
                """)
    }

    private func told(of folded: Fold, _ reference: Fold) async throws -> [String] {
        let connection = ledger.connection
        guard try await TableDigest.of(folded, on: connection) != TableDigest.of(reference, on: connection) else {
            return []
        }
        var told: [String] = []
        for table in definition.tables where told.count < 3 {
            told += try await RowDifference.between(
                live: try await .of(table, in: folded.schema, on: connection),
                expected: try await .of(table, in: reference.schema, on: connection),
                table: table, limit: 3 - told.count, on: connection
            ).map(Cases.describe)
        }
        return told.isEmpty ? ["the rows differ in a way that JSON does not show"] : told
    }
}

/// A history with everything in it that the ledger accepts: jobs in every state, progress out of
/// order, runs reported twice, times that are equal, and times that go back.
struct RandomHistory {
    private(set) var jobs: [JobID] = []
    private(set) var types: [String] = []
    private(set) var data: [String] = []
    private(set) var metadata: [String] = []
    private(set) var moments: [PostgresTimestamp?] = []

    init() {
        var state: UInt64 = 1
        func below(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(limit))
        }
        func add(_ job: Int, _ type: String, _ text: String) {
            jobs.append("job \(job)")
            types.append(type)
            data.append(text)
            metadata.append(below(3) == 0 ? "{}" : #"{"actor":"actor \#(below(3))"}"#)
            // A few hours around a midnight, most of them several times.
            let hour = Int64(3_600_000_000)
            moments.append(
                below(9) == 0 ? nil : PostgresTimestamp(microseconds: 820_454_400_000_000 + Int64(below(12) - 6) * hour)
            )
        }
        for job in 0..<10 {
            let total = below(3) == 0 ? "" : #","total":40"#
            let variables = below(2) == 0 ? "" : #","variables":[{"name":"v","values":["a","b"],"count":2}]"#
            add(
                job, "queued",
                #"{"name":"name \#(below(4))","kind":"\#(below(3) == 0 ? "local" : "server")"\#(total)\#(variables)}"#)
        }
        // What comes after an end is refused, and meant to be.
        for _ in 0..<120 {
            let job = below(10)
            switch below(30) {
            case 0, 1: add(job, "truncated", #"{"reason":"reason \#(below(3))","limit":\#(below(40))}"#)
            case 2: add(job, "failed", #"{"error":"error \#(below(3))"}"#)
            case 3:
                add(
                    job, "finished",
                    #"{"results":{"summary":{"best":\#(below(9)).\#(below(9))},"runs":[{"metrics":{"m":\#(below(9)).5}},{}]}}"#
                )
            default:
                let run =
                    #"{"run_index":\#(below(20)),"variables":{"v":"a"},"metrics":{"m":\#(below(1000)).\#(below(1000))}}"#
                // Totals rise and fall, also below what was completed.
                let total = below(6) == 0 ? #","total":\#(below(40))"# : ""
                add(
                    job, "progress",
                    #"{"completed":\#(below(40))\#(total),"message":"message \#(below(5))","runs":[\#(below(2) == 0 ? run : "")]}"#
                )
            }
        }
    }
}
