import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// The requirements of a ledger for its database are checked on connecting, with advice in the
/// error.
@Suite struct DatabaseNeedsTests {
    @Test(arguments: ["SQL_ASCII", "LATIN1"]) func anotherEncodingIsRefused(_ encoding: String) async throws {
        try await TestDatabase.with("ENCODING '\(encoding)' LOCALE 'C'") { url in
            let ledger = LedgerName("l")!
            let migrator = Migrator(url: url, ledger: ledger, files: try MigrationFile.embedded())
            let store = EventStore(url: url, ledger: ledger, timeout: .seconds(60))
            for attempt in [{ _ = try await migrator.up() }, { _ = try await store.head() }] {
                let start = ContinuousClock.now
                let error = await #expect(throws: PostgresError.self) { try await attempt() }
                #expect(
                    error?.message.contains("has the encoding \(encoding), and UTF8 is needed") == true,
                    "\(String(describing: error))")
                #expect(
                    error?.message.contains("CREATE DATABASE name ENCODING 'UTF8'") == true
                        && error?.isRetriable == false)
                #expect(start.duration(to: .now) < .seconds(30), "it was tried again, which mends nothing")
            }
            await store.close()
            // The migrations themselves also refuse it, whoever runs them.
            let connection = try await PostgresConnection.connect(PostgresConfiguration(url: url))
            let file = try #require(try MigrationFile.embedded().first)
            let error = await #expect(throws: PostgresError.self) { try await connection.execute(script: file.up) }
            #expect(error?.sqlState == SQLState("55000") && error?.hint?.contains("CREATE DATABASE") == true)
            await connection.close()
        }
    }

    @Test func missingRightsAreNamedAndRestored() async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            try await RightsMissing.check(on: connection)
            let migrator = Migrator(url: ledger.url, ledger: ledger.name, files: try MigrationFile.embedded())
            let reader = "\"\(ledger.name)_reader\""
            try await connection.execute(
                script: """
                    REVOKE SELECT ON events FROM \(reader);
                    ALTER FUNCTION head() OWNER TO CURRENT_USER;
                    ALTER TABLE tokens OWNER TO CURRENT_USER;
                    DROP POLICY leases_of_relay ON leases; DROP POLICY checkpoints_all_may_see ON checkpoints;
                    REVOKE \(reader) FROM "\(ledger.name)_auditor";
                    REVOKE SELECT (name) ON tokens FROM "\(ledger.name)_auditor"
                    """)
            let error = await #expect(throws: RightsMissing.self) { try await RightsMissing.check(on: connection) }
            let names = [
                "function head() does not belong to \(ledger.name)_owner",
                "table tokens does not belong to \(ledger.name)_owner",
                "\(ledger.name)_auditor is not a member of \(ledger.name)_reader",
                "\(ledger.name)_auditor may not SELECT (name) table tokens",
                "\(ledger.name)_reader may not SELECT table events",
            ]
            #expect(error?.missing.filter { !$0.hasPrefix("the policy") } == names.sorted())
            #expect(error?.missing.count == names.count + 2 && error?.description.contains("jobledger migrate") == true)
            var mended: [String] = []
            #expect(try await migrator.up { mended = $0 } == [])
            #expect(mended == error?.missing)
            try await RightsMissing.check(on: connection)
            _ = try await migrator.up { mended = $0 }
            #expect(mended == [])
            await connection.close()
        }
    }

    /// Nobody gets rights to an object because a projector calls it a read model. Objects that the
    /// ledger has taken over get their rights back.
    @Test func aProjectorsClaimGivesNoRights() async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            try await connection.execute(
                script: """
                    CREATE TABLE my_model (id text);
                    CREATE TABLE mine (id text);
                    INSERT INTO read_models VALUES ('my_model');
                    INSERT INTO projections (name, definition, tables)
                    VALUES ('mine', 'x', '{mine,tokens,events,pg_shadow,pg_roles,pg_class,\
                    events_pkey,pg_catalog.pg_authid}')
                    """)
            let migrator = Migrator(url: ledger.url, ledger: ledger.name, files: try MigrationFile.embedded())
            var mended: [String] = []
            _ = try await migrator.up { mended = $0 }
            let rights = ["DELETE", "INSERT", "SELECT", "TRUNCATE", "UPDATE"].map {
                "\(ledger.name)_projector may not \($0) table my_model"
            }
            #expect(
                mended == rights + [
                    "\(ledger.name)_reader may not SELECT table my_model",
                    "table my_model does not belong to \(ledger.name)_owner",
                ])
            _ = try await migrator.up { mended = $0 }
            #expect(mended == [])
            let given = try await connection.query(
                """
                SELECT oid::regclass::text FROM pg_class
                 WHERE has_table_privilege($1, oid, 'INSERT, UPDATE, DELETE') AND relkind IN ('r', 'v')
                """,
                "\(ledger.name)_projector"
            ).map { try $0.decode(0, as: String.self) }.filter {
                !$0.hasPrefix("information_schema.") && !$0.hasPrefix("pg_temp")
            }
            #expect(
                given.sorted() == [
                    "leases", "my_model", "pg_settings", "projections", "rebuild_slices", "rebuilds", "replaced_tables",
                ],
                "\(given)")
            await connection.close()
        }
    }

    /// Rights that were not recorded cannot be restored, and the error says so.
    @Test func rightsOfMigrationsByAnotherProgramAreNotRecorded() async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            let owner = "\(ledger.name)_owner"
            try await connection.execute(
                script: "DELETE FROM rights; ALTER ROLE \"\(owner)\" RENAME TO \"\(owner)_lost\"")
            let migrator = Migrator(url: ledger.url, ledger: ledger.name, files: try MigrationFile.embedded())
            let error = await #expect(throws: Migrator.Failure.self) { _ = try await migrator.up() }
            #expect(error?.description.contains("pg_dumpall --roles-only") == true, "\(String(describing: error))")
            // With its roles present, the rights are recorded from then on.
            try await connection.execute(script: "ALTER ROLE \"\(owner)_lost\" RENAME TO \"\(owner)\"")
            #expect(try await migrator.up() == [])
            #expect(try await connection.query("SELECT count(*) > 100 FROM rights").only().decode(0, as: Bool.self))
            await connection.close()
        }
    }
}
