import EmbeddedServices
import Foundation
import LedgerTesting
import Testing

@testable import Postgres

/// Runs `body` with a connection to the shared server.
@discardableResult
func withConnection<T: Sendable>(
    silence: Duration = .seconds(600), _ body: (PostgresConnection) async throws -> T
) async throws -> T {
    let url = try await TestServers.shared.postgresURL()
    let connection = try await PostgresConnection.connect(PostgresConfiguration(url: url, silence: silence))
    do {
        let result = try await body(connection)
        await connection.close()
        return result
    } catch {
        await connection.close()
        throw error
    }
}

/// Runs `body` with a server that the test may break.
@discardableResult
func withOwnServer<T: Sendable>(_ body: (PrivatePostgres) async throws -> T) async throws -> T {
    let directory = TestServers.directory("own-postgres")
    defer { try? FileManager.default.removeItem(at: directory) }
    let server = try await PrivatePostgres.start(directory: directory, settings: ["fsync": "off"])
    do {
        let result = try await body(server)
        try await server.stop()
        return result
    } catch {
        try? await server.stop()
        throw error
    }
}

/// The error that `body` throws. If it throws none, the test fails.
func postgresError<T>(
    _ location: SourceLocation = #_sourceLocation, _ body: () async throws -> T
) async throws -> PostgresError {
    try await #require(throws: PostgresError.self, sourceLocation: location) { _ = try await body() }
}

extension PostgresConnection {
    nonisolated func number(_ sql: String, _ parameters: any PostgresEncodable...) async throws -> Int {
        try await query(PostgresStatement(sql, parameters)).only().decode(0)
    }

    /// Waits until the server process `process` is in `pg_sleep`.
    nonisolated func waitUntilAsleep(_ process: Int32) async throws {
        try await eventually("server process \(process) sleeps") {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'"
            return try await number(sql, process) == 1 ? () : nil
        }
    }

    nonisolated func waitUntilLocked(_ process: Int32) async throws {
        try await eventually("server process \(process) waits for a lock") {
            try await number("SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted", process) == 1 ? () : nil
        }
    }

    /// Whether the server process runs nothing: it is between statements, or has ended.
    nonisolated func isAtRest(_ process: Int32) async throws -> Bool {
        try await number("SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active'", process) == 0
    }

    /// Whether a simple statement works, and no earlier answer is read in its place.
    nonisolated func stillWorks() async throws -> Bool { try await number("SELECT 40 + $1", 2) == 42 }
}

extension PostgresPool {
    /// How many tasks wait for a connection.
    var queueLength: Int { waiters.count }
}
