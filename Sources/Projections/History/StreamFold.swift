import LedgerCore
import Postgres

/// Some jobs' events folded into temporary tables, in a transaction that is rolled back: for a look
/// at single rows.
struct StreamFold: Sendable {
    private let fold: Fold

    init(_ definition: ProjectionDefinition, ledger: LedgerName) {
        fold = Fold(definition, ledger: ledger, schema: "pg_temp")
    }

    /// Makes the tables, empty, and a window that holds the events of `jobs` alone, found by their
    /// streams.
    func begin(_ jobs: [JobID], on connection: PostgresConnection) async throws {
        let view: String = try await connection.query(
            "SELECT format($1, $2::text[])",
            AsOfEvents.view(
                "stream_id = ANY (%L::text[]) AND position > current_setting('jobledger.window_after')::bigint"), jobs
        ).only().decode(0)
        // Temporary names come first.
        try await connection.execute(script: view)
        try await fold.createTables(on: connection)
    }

    func apply(after: Position, upTo: Position, on connection: PostgresConnection) async throws {
        try await fold.apply(after: after, upTo: upTo, on: connection)
    }
}
