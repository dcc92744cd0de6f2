import EventStore
import Foundation
import LedgerCore
import Postgres

/// A temporary ledger for cases and checks, made in a transaction that is rolled back.
struct ScratchLedger {
    let name: LedgerName
    let connection: PostgresConnection

    static func with<T: Sendable>(url: String, _ body: (ScratchLedger) async throws -> T) async throws -> T {
        let name = LedgerName("scratch_" + UUID.version7().text.replacing("-", with: ""))!
        let configuration = EventStore.configuration(url: url, ledger: name, applicationName: "jobledger projections")
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
    func rolledBack<T>(_ body: () async throws -> T) async throws -> T {
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
    func schema(_ suffix: String) -> String { "\(name.text)_\(suffix)" }

    func head() async throws -> Position { try await connection.headOfLog() }

    /// Appends the events of a case.
    /// - Parameter order: the numbers of the events, from 1, in the order in which they are
    ///   appended; the case's order unless given.
    func append(_ text: String, order: [Int]? = nil) async throws {
        // json, not jsonb, keeps the data exactly as the case writes them.
        try await connection.query(Self.appending, text, order)
        guard text.contains("recorded_at") else { return }
        // Only the ledger sets recorded_at, so a case's value is written over it. This ledger is
        // rolled back.
        try await connection.execute(script: Self.guardOfEvents(isOn: false))
        try await connection.query(Self.backdating, text)
        try await connection.execute(script: Self.guardOfEvents(isOn: true))
    }

    private static let appending = """
        SELECT append_event(event ->> 'job', event ->> 'type',
                            coalesce(event -> 'data', '{}'), coalesce(event -> 'metadata', '{}'),
                            event_id => (event ->> 'event_id')::uuid,
                            occurred_at => (event ->> 'occurred_at')::timestamptz)
          FROM json_array_elements($1::json -> 'events') WITH ORDINALITY AS given (event, ordinal)
         ORDER BY coalesce(array_position($2::bigint[], ordinal), ordinal)
        """

    /// The trigger that refuses changes of events.
    private static func guardOfEvents(isOn: Bool) -> String {
        "ALTER TABLE events \(isOn ? "ENABLE" : "DISABLE") TRIGGER events_append_only"
    }

    private static let backdating = """
        UPDATE events AS e SET recorded_at = (event ->> 'recorded_at')::timestamptz
          FROM json_array_elements($1::json -> 'events') AS event
         WHERE e.event_id = (event ->> 'event_id')::uuid AND event ->> 'recorded_at' IS NOT NULL
        """
}
