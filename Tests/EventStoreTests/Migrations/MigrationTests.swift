import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@Suite struct MigrationTests {
    private static func migrator(_ files: [MigrationFile]? = nil, name: LedgerName = freshName()) async throws
        -> Migrator
    {
        Migrator(
            url: try await TestServers.shared.postgresURL(), ledger: name, files: try files ?? MigrationFile.embedded())
    }

    private static func freshName() -> LedgerName { LedgerName("m_\(UInt32.random(in: 0...UInt32.max))")! }

    private static func file(_ name: String, _ up: String, _ down: String = "SELECT 1;") throws -> MigrationFile {
        try MigrationFile(name: name, text: "-- migrate:up\n\(up)\n-- migrate:down\n\(down)\n")
    }

    @Test func upAndDownAndUpAgain() async throws {
        let migrator = try await Self.migrator()
        let names = migrator.files.map(\.name)
        #expect(try await migrator.status().allSatisfy { !$0.isApplied })
        #expect(try await migrator.up() == names)
        #expect(try await migrator.up() == [])
        #expect(try await migrator.status().allSatisfy(\.isApplied))
        for name in names.reversed() { #expect(try await migrator.down() == name) }
        #expect(try await migrator.down() == nil)
        let connection = try await PostgresConnection.connect(
            EventStore.configuration(url: try await TestServers.shared.postgresURL(), ledger: migrator.ledger))
        let left = try await connection.query(
            """
            SELECT relname::text FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'v')
               AND relname <> 'schema_migrations'
            UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = $1::regnamespace
            UNION ALL SELECT typname::text FROM pg_type WHERE typnamespace = $1::regnamespace
                AND typname NOT LIKE '%schema_migrations'
            """, migrator.ledger.text)
        #expect(try left.map { try $0.decode(0, as: String.self) } == [], "down left something behind")
        await connection.close()
        #expect(try await migrator.up() == names)
    }

    @Test func aLogWithEventsIsNotDropped() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            let migrator = Migrator(url: ledger.url, ledger: ledger.name, files: try MigrationFile.embedded())
            await #expect(throws: Migrator.Failure.self) { for _ in migrator.files { _ = try await migrator.down() } }
            #expect(try await ledger.count() == 1)
            _ = try await migrator.up()
        }
    }

    @Test func anEditedFileIsNamed() async throws {
        let name = Self.freshName()
        let files = [
            try Self.file("001_one.sql", "CREATE TABLE one ();"), try Self.file("002_two.sql", "CREATE TABLE two ();"),
        ]
        _ = try await Self.migrator(files, name: name).up()
        let edited = [files[0], try Self.file("002_two.sql", "CREATE TABLE two (id integer);")]
        for action in [
            { (m: Migrator) in _ = try await m.up() }, { _ = try await $0.down() }, { _ = try await $0.status() },
        ] {
            let error = await #expect(throws: Migrator.Failure.self) {
                try await action(try await Self.migrator(edited, name: name))
            }
            #expect(error?.description.contains("002_two.sql was edited") == true)
        }
    }

    /// A ledger with a migration that the program does not have is left alone, and the error says
    /// what to do.
    @Test(arguments: [("001", "export"), ("003", "Use a newer jobledger")])
    func anUnknownVersionIsNamed(_ applied: String, _ advice: String) async throws {
        let name = Self.freshName()
        _ = try await Self.migrator([try Self.file("\(applied)_a.sql", "CREATE TABLE a ();")], name: name).up()
        let known = [try Self.file("002_b.sql", "CREATE TABLE b ();")]
        for action in [
            { (m: Migrator) in _ = try await m.up() }, { _ = try await $0.down() }, { _ = try await $0.status() },
        ] {
            let error = await #expect(throws: Migrator.Failure.self) {
                try await action(try await Self.migrator(known, name: name))
            }
            #expect(
                error?.description.contains(applied) == true && error?.description.contains(advice) == true,
                "\(String(describing: error))")
        }
    }

    @Test func aFailingFileLeavesNothingOfItself() async throws {
        let name = Self.freshName()
        let files = [
            try Self.file("001_one.sql", "CREATE TABLE one ();"),
            try Self.file("002_two.sql", "CREATE TABLE two ();\nSELECT 1 / 0;"),
        ]
        let error = await #expect(throws: Migrator.Failure.self) { _ = try await Self.migrator(files, name: name).up() }
        #expect(
            error?.description.contains("002_two.sql") == true
                && error?.description.contains("division by zero") == true)
        #expect(try await Self.migrator(files, name: name).status().map(\.isApplied) == [true, false])
        let mended = [files[0], try Self.file("002_two.sql", "CREATE TABLE two ();")]
        #expect(try await Self.migrator(mended, name: name).up() == ["002_two.sql"])
    }

    @Test func runnersWaitForEachOther() async throws {
        let name = Self.freshName()
        let files = try MigrationFile.embedded()
        let applied = try await withThrowingTaskGroup(of: [String].self) { group in
            for _ in 0..<6 { group.addTask { try await Self.migrator(files, name: name).up() } }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(applied == files.map(\.name), "each file was applied once")
    }

    /// A runner without progress is not waited for for ever, and the error names it.
    @Test func aRunnerThatIsStuckIsNamed() async throws {
        let name = Self.freshName()
        let url = try await TestServers.shared.postgresURL()
        let stuck = try await PostgresConnection.connect(EventStore.configuration(url: url, ledger: name))
        try await stuck.query("SELECT pg_advisory_lock(hashtextextended('jobledger migrate ' || $1, 0))", name.text)
        let migrator = Migrator(
            url: url, ledger: name, files: try MigrationFile.embedded(), timeout: .milliseconds(100))
        let error = await #expect(throws: Migrator.Failure.self) { _ = try await migrator.up() }
        let process = await stuck.serverProcess
        #expect(error?.description.contains("process \(process)") == true, "\(String(describing: error))")
        await stuck.close()
        #expect(try await Self.migrator(name: name).up().count == migrator.files.count)
    }

    /// Migrations that dbmate applied count here, and the other way round: both use one table,
    /// keyed by version.
    @Test func sharesItsRecordWithDbmate() async throws {
        let migrator = try await Self.migrator()
        let connection = try await PostgresConnection.connect(
            EventStore.configuration(url: try await TestServers.shared.postgresURL(), ledger: migrator.ledger))
        let first = migrator.files[0]
        // As dbmate does with ?search_path=NAME in the URL.
        try await connection.execute(
            script: """
                CREATE SCHEMA "\(migrator.ledger)";
                CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);
                BEGIN;
                \(first.up);
                INSERT INTO "\(migrator.ledger)".schema_migrations (version) VALUES ('\(first.version)');
                COMMIT;
                """)
        #expect(try await migrator.status().filter(\.isApplied).map(\.version) == [first.version])
        #expect(try await migrator.up() == migrator.files.dropFirst().map(\.name))
        let versions = try await connection.query("SELECT version FROM schema_migrations ORDER BY version")
        #expect(try versions.map { try $0.decode(0, as: ExactText.self) } == migrator.files.map(\.version))
        await connection.close()
    }

    @Test(arguments: [
        ("noversion.sql", "-- migrate:up\n-- migrate:down\n"), ("1.txt", "-- migrate:up\n-- migrate:down\n"),
        ("1_a.sql", "SELECT 1;"),
        ("1_a.sql", "-- migrate:up\n"), ("1_a.sql", "-- migrate:down\n-- migrate:up\n"),
        ("1_a.sql", "-- migrate:up transaction:false\n-- migrate:down\n"),
        ("1_a.sql", "-- migrate:up\n-- migrate:up\n-- migrate:down\n"),
    ])
    func malformedFilesAreNamed(_ name: String, _ text: String) {
        let error = #expect(throws: MigrationFile.FormatError.self) { try MigrationFile(name: name, text: text) }
        #expect(error?.description.contains(name) == true)
    }
}
