import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// The columns for job ids are as wide as the longest id that the ledger accepts.
@Suite struct JobIDColumnsTests {
    @Test(arguments: [
        ("batch_jobs", "batch_jobs", "id"), ("batch_job_runs", "batch_job_runs", "batch_job_id"),
        ("audit_log", "audit_log", "stream_id"), ("backtesting", "backtesting_ids", "stream_id"),
    ])
    func ofABuiltInProjection(_ name: String, _ table: String, _ column: String) async throws {
        try await Self.expectWidth(of: column, in: table, try ProjectionDefinition.builtIn(name))
    }

    @Test func ofANewProjection() async throws {
        let directory = TestServers.directory("width").path
        _ = try NewProjection(LedgerName("job_times")!).write(in: directory)
        let definition = try #require(try ProjectionDefinition.all(in: directory).first { $0.name == "job_times" })
        try await Self.expectWidth(of: "job", in: "job_times", definition)
    }

    private static func expectWidth(
        of column: String, in table: String, _ definition: ProjectionDefinition
    ) async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            try await connection.execute(script: definition.schemaSQL)
            let row = try await connection.query(widthOfColumn, table, column).only()
            #expect(try row.decode(0, as: Int32.self) == row.decode(1, as: Int32.self))
            await connection.close()
        }
    }

    /// The type modifier of a varchar is its width and 4.
    private static let widthOfColumn = """
        SELECT atttypmod - 4, longest_stream_id()
          FROM pg_attribute
         WHERE attrelid = $1::regclass AND attname = $2::name AND atttypid = 'varchar'::regtype
        """
}
