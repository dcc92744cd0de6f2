import LedgerTesting
import Postgres
import Projections
import Testing

/// The tables have the columns, types, defaults and indexes of the platform's schema design.
@Suite struct BatchJobsTableTests {
    @Test func batchJobsIsAsDesigned() async throws {
        try await Self.expect(
            "batch_jobs",
            columns: [
                "id character varying(255) not null", "name character varying(500) not null",
                "kind character varying(50) not null default 'server'::character varying",
                "status character varying(50) not null", "total integer not null default 0",
                "completed integer not null default 0",
                "created_at timestamp without time zone not null default CURRENT_TIMESTAMP",
                "updated_at timestamp without time zone not null default CURRENT_TIMESTAMP",
                "completed_at timestamp without time zone", "error text", "truncated boolean not null default false",
                "view_url character varying(500)", "csv_url character varying(500)",
                "variables jsonb not null default '[]'::jsonb", "strategy jsonb", "assignments_preview jsonb",
                "results jsonb",
            ],
            indexes: [
                "UNIQUE batch_jobs_pkey (id)", "idx_batch_jobs_created_at (created_at DESC)",
                "idx_batch_jobs_kind (kind)", "idx_batch_jobs_status (status)",
            ])
    }

    @Test func batchJobRunsIsAsDesigned() async throws {
        try await Self.expect(
            "batch_job_runs",
            columns: [
                "id integer not null default nextval('batch_job_runs_id_seq'::regclass)",
                "batch_job_id character varying(255) not null", "run_index integer not null",
                "variables jsonb not null", "metrics jsonb not null",
                "created_at timestamp without time zone not null default CURRENT_TIMESTAMP",
            ],
            indexes: [
                "UNIQUE batch_job_runs_batch_job_id_run_index_key (batch_job_id, run_index)",
                "UNIQUE batch_job_runs_pkey (id)",
                "idx_batch_job_runs_job_id (batch_job_id)",
            ])
    }

    /// Compares the table that a projector made, and the one that a rebuild made.
    private static func expect(_ table: String, columns: [String], indexes: [String]) async throws {
        try await TestLedger.with { ledger async throws in
            let definition = try ProjectionDefinition.builtIn(table)
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp(table) }
            for _ in 0..<2 {
                let connection = try await ledger.connect()
                let found = try await connection.query(columnsOfTable, table)
                #expect(try found.map { try $0.decode(0, as: String.self) } == columns)
                let foundIndexes = try await connection.query(indexesOfTable, table)
                #expect(try foundIndexes.map { try $0.decode(0, as: String.self) } == indexes)
                await connection.close()
                _ = try await ledger.rebuild(definition)
            }
        }
    }

    private static let columnsOfTable = """
        SELECT attname || ' ' || format_type(atttypid, atttypmod)
               || CASE WHEN attnotnull THEN ' not null' ELSE '' END
               || coalesce(' default ' || pg_get_expr(adbin, adrelid), '')
          FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
        """

    private static let indexesOfTable = #"""
        SELECT CASE WHEN indisunique THEN 'UNIQUE ' ELSE '' END || indexrelid::regclass || ' '
               || substring(pg_get_indexdef(indexrelid) FROM '\(.*$')
          FROM pg_index WHERE indrelid = $1::regclass ORDER BY 1
        """#
}
