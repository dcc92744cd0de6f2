import LedgerCore
import LedgerTesting
import Postgres

@testable import Categories

/// The compiled check of a category as a function of a ledger's server, made in a transaction that
/// is rolled back.
struct CompiledCheck {
    let connection: PostgresConnection
    private let name: String

    /// - Parameter settings: statements that change settings of the session.
    static func with<T: Sendable>(
        _ ledger: TestLedger, _ definition: CategoryDefinition, settings: String = "",
        _ body: (CompiledCheck) async throws -> T
    ) async throws -> T {
        let connection = try await ledger.connect()
        let result: Result<T, any Error>
        do {
            result = .success(
                try await connection.discardedTransaction { connection in
                    let name = "tried_check_of_\(definition.name)"
                    try await connection.execute(
                        script: """
                            \(settings);
                            CREATE FUNCTION \(name)(type text, data jsonb) RETURNS text
                            LANGUAGE plpgsql IMMUTABLE AS \(QuotedSQL.literal(definition.checkBody))
                            """)
                    return try await body(CompiledCheck(connection: connection, name: name))
                })
        } catch {
            result = .failure(error)
        }
        await connection.close()
        return try result.get()
    }

    /// What is wrong with the data, `nil` where nothing is.
    func problem(_ type: String, _ data: String) async throws -> String? {
        try await problems(type, [data])[0]
    }

    func problems(_ type: String, _ data: [String]) async throws -> [String?] {
        try await connection.query(
            """
            SELECT \(name)($1, value::jsonb) FROM unnest($2::text[]) WITH ORDINALITY AS given (value, place)
             ORDER BY place
            """, type, data
        ).map { try $0.decode(0) }
    }
}
