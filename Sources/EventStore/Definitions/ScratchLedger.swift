import Foundation
package import LedgerCore
package import Postgres

/// A temporary ledger for cases and checks, made in a transaction that is rolled back.
package struct ScratchLedger {
    package let name: LedgerName
    package let connection: PostgresConnection

    /// - Parameter purpose: what the session is called in Postgres.
    package static func with<T: Sendable>(
        url: String, for purpose: String = "jobledger projections", _ body: (ScratchLedger) async throws -> T
    ) async throws -> T {
        let name = LedgerName("scratch_" + UUID.version7().text.replacing("-", with: ""))!
        let configuration = EventStore.configuration(url: url, ledger: name, applicationName: purpose)
        let connection = try await PostgresConnection.connect(configuration, timeout: .seconds(10))
        let result: Result<T, any Error>
        do {
            result = .success(try await inDiscardedTransaction(name, connection, body))
        } catch {
            result = .failure(error)
        }
        do {
            try await removeLeftovers(of: name, on: connection)
        } catch {
            // If the connection was lost, its transaction is rolled back, and the error of `body`
            // says more.
            _ = try result.get()
            throw error
        }
        await connection.close()
        return try result.get()
    }

    private static func inDiscardedTransaction<T: Sendable>(
        _ name: LedgerName, _ connection: PostgresConnection, _ body: (ScratchLedger) async throws -> T
    ) async throws -> T {
        try await connection.discardedTransaction { connection in
            try await connection.execute(script: "CREATE SCHEMA \"\(name)\"; \(searchPath(name))")
            for file in try MigrationFile.embedded() {
                try await connection.execute(script: "\(file.up)\n;\(searchPath(name))")
            }
            try await connection.execute(script: Self.seenByNobody)
            return try await body(ScratchLedger(name: name, connection: connection))
        }
    }

    /// For the rest of the transaction. A migration may set another search path, and a rollback to
    /// a savepoint takes a setting back.
    private static func searchPath(_ name: LedgerName) -> String { "SET LOCAL search_path = \"\(name)\"" }

    /// Nobody else sees this ledger, so nobody waits for its log: the limits of seconds that
    /// `lock_log` sets for the rest of a transaction would only end the folds on a busy machine.
    /// Nothing is committed, so there is no disk to wait for either; that trigger's pending events
    /// would also block ALTER TABLE.
    private static let seenByNobody = """
        CREATE OR REPLACE FUNCTION lock_log() RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
        ALTER TABLE events DISABLE TRIGGER events_on_disk
        """

    /// Drops what a definition's SQL may have committed by ending the transaction. Nobody else has
    /// objects of this name.
    private static func removeLeftovers(of name: LedgerName, on connection: PostgresConnection) async throws {
        try await connection.execute(script: removal(of: name))
    }

    private static func removal(of name: LedgerName) -> String {
        """
        DO $$
        DECLARE
          found text;
        BEGIN
          FOR found IN
            SELECT nspname FROM pg_catalog.pg_namespace
             WHERE nspname = '\(name)' OR starts_with(nspname, '\(name)_')
          LOOP
            EXECUTE format('DROP SCHEMA %I CASCADE', found);
          END LOOP;
          FOR found IN SELECT rolname FROM pg_catalog.pg_roles WHERE starts_with(rolname, '\(name)_') LOOP
            EXECUTE format('DROP OWNED BY %1$I CASCADE; DROP ROLE %1$I', found);
          END LOOP;
        END
        $$
        """
    }

    /// Runs `body` and rolls back its effects, also if one of its statements failed.
    package func rolledBack<T>(_ body: () async throws -> T) async throws -> T {
        try await connection.execute(script: "SAVEPOINT before_it")
        let result: Result<T, any Error>
        do {
            result = .success(try await body())
        } catch {
            result = .failure(error)
        }
        try await connection.execute(script: "ROLLBACK TO before_it; RELEASE before_it; \(Self.searchPath(name))")
        return try result.get()
    }

    /// The name of a schema beside the ledger's.
    package func schema(_ suffix: String) -> String { "\(name.text)_\(suffix)" }

    package func head() async throws -> Position { try await connection.headOfLog() }
}
