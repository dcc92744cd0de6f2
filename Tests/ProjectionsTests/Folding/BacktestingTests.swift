import Categories
import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import Projections

/// Users, strategies and results of backtests as tables that refer to each other.
@Suite struct BacktestingTests {
    /// The tables are what the same operations make of plain tables, whose ids come from sequences
    /// and whose foreign keys act at once. They are the same for every window and number of
    /// workers, live and rebuilt.
    @Test(.timeLimit(.minutes(10))) func theTablesAreThoseOfPlainOperations() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("backtesting: seed \(seed)")
        let history = RandomBacktesting(events: 600, seed: seed)
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("backtesting")
            let connection = try await ledger.connect()
            try await CategoryInstall.install(try CategoryDefinition.all(), on: connection)
            try await history.append(on: connection)
            try await PlainBacktesting.with(ledger) { plain, session in
                try await session.execute(script: history.statements.joined(separator: ";\n"))
                let counts = try await session.query(
                    """
                    SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM strategies),
                           (SELECT count(*) FROM backtest_results)
                    """
                ).only()
                for table in 0..<3 { #expect(try counts.decode(table, as: Int64.self) > 0, "seed \(seed)") }

                try await ledger.projecting([definition], window: 7) { try await ledger.caughtUp("backtesting") }
                #expect(try await plain.differences(on: session) == [], "live, seed \(seed)")
                #expect(try await ledger.verify(definition).isEqual, "seed \(seed)")
                var digests: Set<String> = []
                for (window, workers) in [(1, 1), (2, 1), (3, 2), (7, 1), (100, 3), (10_000, 1)] {
                    let receipt = try await Rebuild(
                        definition, ledger: ledger.name, window: window, workers: workers
                    ).run(on: connection)
                    digests.insert(receipt.digest)
                    #expect(receipt.liveDigest == receipt.digest, "windows of \(window), seed \(seed)")
                    #expect(
                        try await plain.differences(on: session) == [], "windows of \(window), seed \(seed)")
                }
                #expect(digests.count == 1, "seed \(seed)")
                #expect(try await ledger.verify(definition).isEqual, "seed \(seed)")
            }
            await connection.close()
        }
    }

    /// Live folding goes on in rebuilt tables: foreign keys and ids are those of before.
    @Test func foldingGoesOnAfterASwap() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("backtesting")
            let connection = try await ledger.connect()
            try await CategoryInstall.install(try CategoryDefinition.all(), on: connection)
            func append(_ category: String, _ stream: String, _ type: String, _ data: String) async throws {
                _ = try await connection.query(
                    "SELECT append_event($1, $2, $3::json, category => $4)", stream, type, data, category)
            }
            func rows() async throws -> [String] {
                try await connection.query(
                    """
                    SELECT concat_ws(' ', users.id, email, strategies.id, backtest_results.id)
                      FROM users FULL JOIN strategies ON strategies.user_id = users.id
                      FULL JOIN backtest_results ON strategy_id = strategies.id
                     ORDER BY users.id, strategies.id, backtest_results.id
                    """
                ).map { try $0.decode(0) }
            }
            try await append("user", "ada", "registered", #"{"email":"a@x"}"#)
            try await append("strategy", "s", "saved", #"{"user_id":"ada","name":"n","elements":[]}"#)
            try await ledger.projecting([definition]) { try await ledger.caughtUp("backtesting") }
            _ = try await ledger.rebuild(definition)
            let dates = #""start_date":"2026-01-01","end_date":"2026-01-02","metrics":{}"#
            try await append("backtest", "b", "recorded", #"{"strategy_id":"s",\#(dates)}"#)
            try await append("user", "bob", "registered", #"{"email":"b@x"}"#)
            try await ledger.projecting([definition]) { try await ledger.caughtUp("backtesting") }
            #expect(try await rows() == ["1 a@x 1 1", "2 b@x"])
            try await append("user", "ada", "removed", "{}")
            try await append("user", "ada 2", "registered", #"{"email":"a@x"}"#)
            try await ledger.projecting([definition]) { try await ledger.caughtUp("backtesting") }
            #expect(try await rows() == ["2 b@x", "3 a@x", "1"])
            #expect(try await ledger.verify(definition).isEqual)
            // The replaced tables are as they were.
            _ = try await ReplacedTables.undo("backtesting", ledger: ledger.name, on: connection)
            #expect(try await rows() == ["1 a@x 1"])
            try await ledger.projecting([definition]) { try await ledger.caughtUp("backtesting") }
            #expect(try await rows() == ["2 b@x", "3 a@x", "1"])
            #expect(try await ledger.verify(definition).isEqual)

            // As of a past position, in a schema of its own.
            let past = LedgerName("\(ledger.name.text.prefix(30))_past")!
            let receipt = try await AsOfTables(definition, ledger: ledger.name, window: 2)
                .run(until: 3, into: past, on: connection)
            #expect(receipt.rows == 6, "a row of each table, and three numbers")
            try await connection.execute(script: "DELETE FROM \"\(past)\".users")
            let left = try await connection.query("SELECT count(*) FROM \"\(past)\".strategies").only()
            #expect(try left.decode(0, as: Int64.self) == 0)
            try await connection.execute(script: "DROP SCHEMA \"\(past)\" CASCADE")
            await connection.close()
        }
    }

    /// No row is found by way of all others, whatever the planner knows of the tables. Cost is
    /// counted in touched blocks.
    @Test(arguments: FoldCostTests.Statistics.allCases.filter { !$0.isOfRuns })
    func noStreamCostsMoreThanAnother(_ statistics: FoldCostTests.Statistics) async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("backtesting")
            let connection = try await ledger.connect()
            try await CategoryInstall.install(try CategoryDefinition.all(), on: connection)
            let live = LiveProjection(definition: definition, ledger: ledger.name)
            try await live.install(on: connection)
            let analysis = definition.tables.map { "ANALYZE \($0);" }.joined()
            for table in definition.tables {
                try await connection.execute(script: "ALTER TABLE \(table) SET (autovacuum_enabled = off)")
            }
            if statistics == .ofEmptyTables { try await connection.execute(script: analysis) }
            // Kinds of streams follow each other, so statistics may know one and not the next.
            var (costs, position) = ([String: Double](), Position(0))
            for size in [300, 3000] {
                for (category, append) in Self.kinds {
                    if statistics == .fresh { try await connection.execute(script: analysis) }
                    try await connection.query(append, size)
                    let head = try await ledger.store.head()
                    try #require(head == position + Position(size), "\(category) is accepted")
                    let before = try await FoldCostTests.blocks(on: connection)
                    #expect(
                        try await live.step(after: position, upTo: head, on: connection) == .advanced(to: head))
                    position = head
                    let cost = Double(try await FoldCostTests.blocks(on: connection) - before) / Double(size)
                    let first = costs[category, default: cost]
                    costs[category] = first
                    #expect(cost <= first * 3, "\(category): \(cost) blocks each of \(size), at first \(first)")
                }
            }
            await connection.close()
        }
    }

    /// Statements that append $1 events of one kind.
    private static let kinds: [(String, String)] = [
        ("registered", append("user", "registered", #"{"email":"'||n||'.'||$1||'@x"}"#)),
        ("saved", append("strategy", "saved", #"{"user_id":"'||n||'.'||$1||'","name":"n","elements":[]}"#)),
        (
            "recorded",
            append(
                "backtest", "recorded",
                """
                {"user_id":"'||n||'.'||$1||'","strategy_id":"'||n||'.'||$1||'","start_date":"2026-01-01",\
                "end_date":"2026-01-01","metrics":{}}
                """)
        ),
        ("updated", append("user", "updated", #"{"email":"'||n||'.'||$1||'@y"}"#)),
        ("removed", append("user", "removed", "{}")),
    ]

    private static func append(_ category: String, _ type: String, _ data: String) -> String {
        """
        SELECT count(*)
          FROM (SELECT array_agg(n || '.' || $1::integer) AS streams, array_agg('\(type)'::text) AS types,
                       array_agg(('\(data.replacing("$1", with: "$1::integer"))')::text) AS data,
                       array_agg('\(category)'::text) AS categories
                  FROM generate_series(1, $1::integer) AS n) AS given,
               append(streams, types, data, categories => given.categories)
        """
    }
}
