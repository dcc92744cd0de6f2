package import LedgerCore
import Postgres

/// Brings a ledger's schema to the state of the migrations: one runner at a time, each file in its
/// own transaction.
///
/// Applied migrations are recorded in dbmate's table `schema_migrations`, with an extra column for
/// the file's hash. A file that was edited after it was applied is an error, because the database
/// would no longer match the files.
package struct Migrator: Sendable {
    package struct Status: Sendable, Equatable {
        package let version: ExactText
        package let name: String
        package let isApplied: Bool
    }

    package struct Failure: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    package let ledger: LedgerName
    package let files: [MigrationFile]
    /// How long to wait for another runner that makes no progress.
    let timeout: Duration
    private let configuration: PostgresConfiguration

    package init(url: String, ledger: LedgerName, files: [MigrationFile], timeout: Duration = .seconds(60)) {
        self.ledger = ledger
        self.timeout = timeout
        self.files = files.sorted { $0.version < $1.version }
        configuration = EventStore.configuration(
            url: url, ledger: ledger, applicationName: "jobledger migrate \(ledger)", writes: true)
    }

    /// Applies the missing migrations. Returns the names of the files it applied.
    /// - Parameter mended: receives the rights of the roles that were missing, as after a restore
    ///   on another server, and that were restored.
    package func up(mended: ([String]) -> Void = { _ in }) async throws -> [String] {
        try await locked { connection in
            let applied = try await check(on: connection)
            // Before new migrations, which may name roles that were lost.
            mended(try await mendRights(of: applied, on: connection))
            var names: [String] = []
            for file in files where !applied.contains(file.version) {
                try await run(file, file.up, on: connection) { connection in
                    try await connection.query(Self.recordApplied, file.version, file.checksum)
                }
                names.append(file.name)
            }
            return names
        }
    }

    /// Undoes the last migration. Returns its name, or `nil` where none is applied.
    package func down() async throws -> String? {
        try await locked { connection in
            let applied = try await check(on: connection)
            guard let file = files.last(where: { applied.contains($0.version) }) else { return nil }
            try await run(file, file.down, on: connection) { connection in
                try await connection.query("DELETE FROM schema_migrations WHERE version = $1", file.version)
            }
            return file.name
        }
    }

    /// Every file, and whether it is applied. Changes nothing.
    package func status() async throws -> [Status] {
        let connection = try await PostgresConnection.connect(configuration, timeout: .seconds(5))
        let exists = try await connection.hasTable("schema_migrations", in: ledger.text)
        let applied = exists ? try await check(on: connection) : []
        await connection.close()
        return files.map { Status(version: $0.version, name: $0.name, isApplied: applied.contains($0.version)) }
    }

    /// dbmate's table, with a column of ours.
    private static let makeRecord = """
        CREATE TABLE IF NOT EXISTS schema_migrations (version varchar(128) PRIMARY KEY);
        ALTER TABLE schema_migrations ADD COLUMN IF NOT EXISTS checksum text;
        """
    private static let recordApplied = "INSERT INTO schema_migrations (version, checksum) VALUES ($1, $2)"

    private func run(
        _ file: MigrationFile, _ sql: String, on connection: PostgresConnection,
        record: (PostgresConnection) async throws -> Void
    ) async throws {
        do {
            try await connection.transaction { connection in
                try await connection.execute(script: sql)
                // The file may have set search_path for its transaction.
                try await connection.execute(script: "SET LOCAL search_path = \"\(ledger.text)\"")
                try await record(connection)
                try await rememberRights(on: connection)
            }
        } catch let error as PostgresError where error.kind == .server {
            throw Failure(description: "migration \(file.name) failed, and nothing of it was kept: \(error)")
        }
    }

    /// The applied versions. Throws if a file differs from what was applied.
    private func check(on connection: PostgresConnection) async throws -> Set<ExactText> {
        var applied: Set<ExactText> = []
        // As JSON, because a table that dbmate made does not have this column yet.
        for row in try await connection.query(
            "SELECT version, to_jsonb(applied) ->> 'checksum' AS checksum FROM schema_migrations AS applied")
        {
            let version = try row.decode("version", as: ExactText.self)
            guard let file = files.first(where: { $0.version == version }) else {
                throw unknown(version)
            }
            // dbmate leaves no hash.
            if let checksum = try row.decode("checksum", as: String?.self), checksum != file.checksum {
                throw Failure(
                    description: """
                        migration \(file.name) was edited after it had been applied. Restore \
                        it, and put the change into a new file.
                        """)
            }
            applied.insert(version)
        }
        return applied
    }

    /// Migrations are only added. A version without a file comes from a newer program, or from a
    /// development version before the first release.
    private func unknown(_ version: ExactText) -> Failure {
        let isNewer = files.last.map { $0.version < version } ?? true
        let advice =
            isNewer
            ? "the database is newer. Use a newer jobledger."
            : """
            the ledger was made by a development version, and cannot be upgraded. Write its log to a file with \
            that program (jobledger export), migrate a new ledger (JOBLEDGER_SCHEMA) with this one, and read the \
            file into it (jobledger import)
            """
        return Failure(description: "migration \(version) is applied, but this program does not have it: \(advice)")
    }

    /// Waits until no other runner is at work, as long as that runner makes progress.
    private func lock(_ key: String, on connection: PostgresConnection) async throws {
        try await connection.execute(script: "SET lock_timeout = \(Int64(timeout / .milliseconds(1)))")
        var last: Progress?
        while true {
            do {
                try await connection.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", key)
                // The limit for locks on the tables that a migration changes.
                return try await connection.execute(script: "SET lock_timeout = '60s'")
            } catch SQLState.lockNotAvailable {
                let progress = try await Progress(key, of: ledger, on: connection)
                guard progress != last else {
                    throw Failure(
                        description: """
                            another runner (process \(progress.runner) of the server) is \
                            migrating, and has made no progress for \(timeout): end it, or try \
                            again when it is done
                            """)
                }
                last = progress
            }
        }
    }

    /// The other runner, and how many migrations are applied.
    private struct Progress: Equatable {
        let runner: Int32
        let files: Int64

        /// The server process that has the advisory lock `$1`.
        private static let lockHolder = """
            SELECT pid FROM pg_locks
             WHERE locktype = 'advisory' AND granted AND objsubid = 1
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND (classid::bigint << 32 | objid::bigint) = hashtextextended($1, 0)
            """

        init(_ key: String, of ledger: LedgerName, on connection: PostgresConnection) async throws {
            runner = try await connection.query(Self.lockHolder, key).first?.decode(0) ?? 0
            let exists = try await connection.hasTable("schema_migrations", in: ledger.text)
            files =
                exists ? try await connection.query("SELECT count(*) FROM schema_migrations").only().decode(0) : 0
        }
    }

    private func locked<T: Sendable>(_ body: (PostgresConnection) async throws -> T) async throws -> T {
        let connection = try await PostgresConnection.connect(configuration, timeout: .seconds(10))
        // The lock belongs to the session, so the server releases it when a runner is killed.
        let key = "jobledger migrate \(ledger.text)"
        try await lock(key, on: connection)
        try await connection.execute(script: "CREATE SCHEMA IF NOT EXISTS \"\(ledger.text)\"; \(Self.makeRecord)")
        do {
            let result = try await body(connection)
            await connection.close()
            return result
        } catch {
            await connection.close()
            throw error
        }
    }
}
