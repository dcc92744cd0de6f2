import LedgerCore
import Postgres

/// Folds the events of some streams into temporary tables, to look at single rows. In a transaction
/// that is rolled back.
struct StreamFold: Sendable {
    private let fold: Fold

    init(_ definition: ProjectionDefinition, ledger: LedgerName) {
        fold = Fold(definition, ledger: ledger, schema: "pg_temp")
    }

    /// Makes the tables, empty, and a `new_events` with the events of the streams with these ids,
    /// of whatever categories they are.
    func begin(_ ids: [JobID], on connection: PostgresConnection) async throws {
        let view: String = try await connection.query(
            "SELECT format($1, $2::text[])",
            AsOfEvents.view(
                """
                \(AsOfEvents.stream) = ANY (%L::text[])
                AND position > current_setting('jobledger.window_after')::bigint
                """), ids
        ).only().decode(0)
        try await connection.execute(script: view)
        try await fold.createTables(on: connection)
    }

    func apply(after: Position, upTo: Position, on connection: PostgresConnection) async throws {
        try await fold.apply(after: after, upTo: upTo, on: connection)
    }
}
