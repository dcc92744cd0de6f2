import EventStore
import LedgerCore
import LedgerTesting
import Postgres

/// The tables of the platform's schema design, in a schema of their own beside a ledger: what the
/// projection `backtesting` is compared with.
struct PlainBacktesting {
    static let tables = ["users", "strategies", "backtest_results"]

    /// The design as it is given, but for its indexes, which are statements of their own here.
    private static let design = """
        CREATE TABLE users (
            id SERIAL PRIMARY KEY,
            discord_id VARCHAR(255) UNIQUE,
            email VARCHAR(255) UNIQUE,
            username VARCHAR(255),
            avatar_url TEXT,
            created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
            updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
        );

        CREATE TABLE strategies (
            id SERIAL PRIMARY KEY,
            user_id INTEGER REFERENCES users(id) ON DELETE CASCADE,
            name VARCHAR(500) NOT NULL,
            description TEXT,
            elements JSONB NOT NULL,
            created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
            updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
        );
        CREATE INDEX idx_strategies_user_id ON strategies(user_id);

        CREATE TABLE backtest_results (
            id SERIAL PRIMARY KEY,
            strategy_id INTEGER REFERENCES strategies(id) ON DELETE SET NULL,
            user_id INTEGER REFERENCES users(id) ON DELETE CASCADE,
            start_date DATE NOT NULL,
            end_date DATE NOT NULL,
            benchmark_symbol VARCHAR(50),
            metrics JSONB NOT NULL,
            equity_curve JSONB,
            positions JSONB,
            created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
        );
        CREATE INDEX idx_backtest_results_user_id ON backtest_results(user_id);
        CREATE INDEX idx_backtest_results_strategy_id ON backtest_results(strategy_id);
        CREATE INDEX idx_backtest_results_created_at ON backtest_results(created_at DESC);
        """

    let ledger: LedgerName
    var schema: String { "\(ledger)_plain" }

    /// Makes the tables, runs `body` with a session that finds them first, and drops them.
    static func with<T: Sendable>(
        _ ledger: TestLedger, _ body: (PlainBacktesting, PostgresConnection) async throws -> T
    ) async throws -> T {
        let plain = PlainBacktesting(ledger: ledger.name)
        let connection = try await ledger.connect()
        try await connection.execute(
            script: "CREATE SCHEMA \(plain.schema); SET search_path = \(plain.schema); \(design)")
        let result: T
        do {
            result = try await body(plain, connection)
        } catch {
            try await connection.execute(script: "DROP SCHEMA \(plain.schema) CASCADE")
            throw error
        }
        try await connection.execute(script: "DROP SCHEMA \(plain.schema) CASCADE")
        await connection.close()
        return result
    }

    /// What the catalog has of the tables that the session's search path names first: a line for
    /// each column, constraint, index and sequence.
    static func catalog(on connection: PostgresConnection) async throws -> [String] {
        try await connection.query(catalogOfTables, tables).map { try $0.decode(0) }
    }

    private static let catalogOfTables = """
        WITH designed AS (
          SELECT oid, relname FROM pg_class
           WHERE relnamespace = current_schema()::regnamespace AND relname = ANY ($1) AND relkind = 'r'
        )
        SELECT concat_ws(' ', 'column', relname, attnum, attname, format_type(atttypid, atttypmod),
                         CASE WHEN attnotnull THEN 'not null' END, 'default ' || pg_get_expr(adbin, adrelid),
                         nullif(attidentity, ''), nullif(attgenerated, ''), attcollation::regcollation) AS line
          FROM designed
          JOIN pg_attribute ON attrelid = designed.oid AND attnum > 0 AND NOT attisdropped
          LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        UNION ALL
        SELECT concat_ws(' ', 'constraint', relname, conname, pg_get_constraintdef(pg_constraint.oid, true),
                         convalidated, condeferrable)
          FROM designed JOIN pg_constraint ON conrelid = designed.oid
        UNION ALL
        SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid, 0, true), indisunique, indisvalid)
          FROM designed JOIN pg_index ON indrelid = designed.oid
        UNION ALL
        SELECT concat_ws(' ', 'sequence', seqrelid::regclass, 'of', relname, refobjsubid, seqtypid::regtype, seqstart,
                         seqincrement, seqmax, seqmin, seqcache, seqcycle, deptype)
          FROM designed
          JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = designed.oid
            AND classid = 'pg_class'::regclass
          JOIN pg_sequence ON seqrelid = objid
         ORDER BY line
        """

    /// Rows of the ledger's tables that the plain ones have not, and the other way round.
    func differences(on connection: PostgresConnection) async throws -> [String] {
        var found: [String] = []
        for table in Self.tables {
            let (ours, plain) = ("\"\(ledger)\".\(table)", "\(schema).\(table)")
            found += try await connection.query(
                """
                SELECT row_to_json(different)::text
                  FROM ((SELECT 'ledger' AS only_in, * FROM \(ours) EXCEPT ALL SELECT 'ledger', * FROM \(plain))
                        UNION ALL
                        (SELECT 'plain', * FROM \(plain) EXCEPT ALL SELECT 'plain', * FROM \(ours))) AS different
                 ORDER BY id
                """
            ).map { "\(table): \(try $0.decode(0, as: String.self))" }
        }
        return found
    }
}
