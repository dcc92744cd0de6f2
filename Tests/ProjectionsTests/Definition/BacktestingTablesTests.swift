import Categories
import LedgerTesting
import Postgres
import Testing

@testable import Projections

/// The read models of users, strategies and backtests are exactly the tables of the platform's
/// schema design.
@Suite struct BacktestingTablesTests {
    /// Compares those that a projector made, those of a rebuild, and those that an undo brought
    /// back: columns, types, defaults, constraints, indexes and sequences, with all names.
    @Test func theTablesAreAsDesigned() async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn("backtesting")
            let connection = try await ledger.connect()
            try await CategoryInstall.install(try CategoryDefinition.all(), on: connection)
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("backtesting") }
            let designed = try await PlainBacktesting.with(ledger) { _, session in
                try await PlainBacktesting.catalog(on: session)
            }
            #expect(designed.count { $0.hasPrefix("column") } == 24)
            #expect(designed.count { $0.hasPrefix("sequence") } == 3)
            for name in ["strategies_user_id_fkey", "users_discord_id_key", "idx_backtest_results_created_at"] {
                #expect(designed.contains { $0.contains(name) }, "\(designed)")
            }
            #expect(try await PlainBacktesting.catalog(on: connection) == designed, "live")
            _ = try await ledger.rebuild(definition)
            #expect(try await PlainBacktesting.catalog(on: connection) == designed, "after a rebuild")
            _ = try await ReplacedTables.undo("backtesting", ledger: ledger.name, on: connection)
            #expect(try await PlainBacktesting.catalog(on: connection) == designed, "after an undo")
            _ = try await ledger.rebuild(definition)
            #expect(try await ReplacedTables.discard("backtesting", ledger: ledger.name, on: connection))
            #expect(try await PlainBacktesting.catalog(on: connection) == designed, "without the replaced tables")
            #expect(try await ledger.schemasBeside() == [])
            await connection.close()
        }
    }

    /// Rows load without the index for queries alone, and with those by which foreign keys find
    /// rows.
    @Test func aRebuildKeepsTheIndexesOfForeignKeys() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let definition = try ProjectionDefinition.builtIn("backtesting")
            let fold = Fold(definition, ledger: ledger.name, schema: "\(ledger.name)-beside")
            let dropped = try await connection.discardedTransaction { connection in
                try await connection.execute(script: "CREATE SCHEMA \"\(fold.schema)\"")
                try await fold.createTables(on: connection)
                return try await fold.dropSecondaryIndexes(on: connection)
            }
            #expect(dropped == ["idx_backtest_results_created_at"])
            await connection.close()
        }
    }
}
