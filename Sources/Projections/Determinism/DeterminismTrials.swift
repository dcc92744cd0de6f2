import EventStore
import LedgerCore
import Postgres

/// Folds one history in several ways that must give the same rows, and compares the results.
///
/// The ways are: windows of several sizes; the events of a window in another order than the log's;
/// and, if each row depends on one stream, the streams divided into parts, as parallel workers fold
/// them.
///
/// The histories are: each case as it is written; each case with the events of its streams
/// interleaved in other ways; and a random history.
struct DeterminismTrials {
    private let definition: ProjectionDefinition
    private let ledger: ScratchLedger

    /// What the trials found, and the number of folds.
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
                """
                the streams folded in \(count) parts give other rows than all at once, but \"key\": \"stream_id\" \
                says that they can be folded apart
                """
            }
        }
    }

    private var ways: [Way] {
        let all: [Way] = [.windows(1), .windows(2), .windows(3), .windows(7), .shuffled(.max), .shuffled(5)]
        return definition.key == .stream ? all + [.parts(2), .parts(3)] : all
    }

    // MARK: Histories

    /// The stream of each event of the case $1, with its category.
    private static let streamsOfCase = """
        SELECT coalesce(event ->> 'job', coalesce(event ->> 'category', '') || '/' || (event ->> 'stream'), '')
          FROM json_array_elements($1::json -> 'events') WITH ORDINALITY AS given (event, ordinal)
         ORDER BY ordinal
        """
    func run(_ name: String, case text: String) async throws -> Verdict {
        let streams: [ExactText]
        do {
            streams = try await ledger.rolledBack {
                try await ledger.connection.query(Self.streamsOfCase, text).map { try $0.decode(0) }
            }
        } catch let error as PostgresError where error.kind == .server {
            let instead = "A case is JSON with \"events\" and \"expect\": see docs/projections.md."
            return ([ProjectionDiagnostic(place: name, what: "\(error)", instead: instead)], 0)
        }
        var all: Verdict = ([], 0)
        for (order, places) in Self.interleavings(of: streams) where all.diagnostics.isEmpty {
            let verdict = try await compare(name + order, isWritten: order.isEmpty) {
                try await ledger.append(text, category: definition.consumes.only, order: places)
            }
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

    /// Orders of a case's events in which each stream's events keep their own order; events are
    /// numbered from 1.
    static func interleavings(of streams: [ExactText]) -> [(name: String, places: [Int])] {
        var byStream: [[Int]] = []
        var number: [ExactText: Int] = [:]
        for (index, stream) in streams.enumerated() {
            if number[stream] == nil {
                number[stream] = byStream.count
                byStream.append([])
            }
            byStream[number[stream]!].append(index + 1)
        }
        func merged(_ choose: (Int, [Int]) -> Int) -> [Int] {
            var rest = byStream.map { $0[...] }
            return (0..<streams.count).map { turn in
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
            ("", Array(1...max(1, streams.count)).prefix(streams.count).map(\.self)),
            (", one stream after another", byStream.flatMap(\.self)),
            (", the last stream first", byStream.reversed().flatMap(\.self)), (", the streams in turn", inTurn),
            (", the streams mixed", merged { turn, open in open[(turn * 7 + turn / 3) % open.count] }),
        ]
        return orders.reduce(into: []) { kept, order in
            if !kept.contains(where: { $0.places == order.1 }) { kept.append((order.0, order.1)) }
        }
    }

    // MARK: Folding

    /// - Parameter isWritten: whether the history is one that somebody wrote or that is always
    ///   valid. Others may break a rule of a category, such as a reference to what does not exist
    ///   yet. The ledger refuses them, and they are no history.
    private func compare(
        _ name: String, isWritten: Bool = true, append: () async throws -> Void
    ) async throws -> Verdict {
        try await ledger.rolledBack { () async throws -> Verdict in
            var verdict: Verdict = ([], 0)
            do {
                do {
                    try await append()
                } catch let error as PostgresError where !isWritten && error.sqlState?.code.hasPrefix("JL") == true {
                    return verdict
                }
                let head = try await ledger.head()
                let reference = try await fold(.windows(max(1, head)), into: "r", head)
                for way in ways {
                    let found = try await ledger.rolledBack {
                        try await differences(of: fold(way, into: "c", head), from: reference)
                    }
                    verdict.folds += 1
                    guard !found.isEmpty else { continue }
                    verdict.diagnostics.append(
                        ProjectionDiagnostic(
                            place: name, what: ([way.description] + found).joined(separator: "\n    "),
                            instead: "Let each row depend on the events alone, not on their windows or their order.")
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
            try await ledger.connection.execute(script: Self.shuffledEvents("true", in: ledger.name))
            try await apply(windowsOf: size)
        case .parts(let count):
            for part in 0..<count {
                let condition = "abs(hashtext(category || '/' || stream_id) % \(count)) = \(part)"
                try await ledger.connection.execute(script: Self.shuffledEvents(condition, in: ledger.name))
                try await fold.apply(after: 0, upTo: head, on: ledger.connection)
                try await ledger.connection.execute(script: "DROP VIEW pg_temp.new_events")
            }
        }
        return fold
    }

    /// Makes the session's `new_events`, which comes first in the search path: some of the
    /// ledger's, in an order unrelated to the log's. It selects from the ledger's own view, so
    /// types and collations are those of live folds.
    static func shuffledEvents(_ condition: String, in ledger: LedgerName) -> String {
        """
        CREATE TEMPORARY VIEW new_events AS
          SELECT * FROM "\(ledger)".new_events WHERE \(condition) ORDER BY md5(position::text) OFFSET 0
        """
    }

    private func differences(of folded: Fold, from reference: Fold) async throws -> [String] {
        let connection = ledger.connection
        guard try await TableDigest.of(folded, on: connection) != TableDigest.of(reference, on: connection) else {
            return []
        }
        var found: [String] = []
        for table in definition.tables where found.count < 3 {
            found += try await RowDifference.between(
                live: try await .of(table, in: folded.schema, on: connection),
                expected: try await .of(table, in: reference.schema, on: connection),
                table: table, limit: 3 - found.count, on: connection
            ).map(Cases.describe)
        }
        return found.isEmpty ? ["the rows differ in a way that JSON does not show"] : found
    }
}
