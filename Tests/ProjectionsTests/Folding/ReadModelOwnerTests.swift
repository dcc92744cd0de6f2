import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// Read models belong to the ledger's owner: a projector cannot make others run its code by them.
///
/// Serialized, because two sessions cannot grant rights to one database at the same time.
@Suite(.serialized) struct ReadModelOwnerTests {
    /// The owner of a read model can hide rows of it from others. `verify` reports that, and reads
    /// no view in its place.
    @Test func verifyReadsPlainTablesOnly() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.onePerJob()
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            #expect(try await ledger.verify(definition).tablesWithPolicies.isEmpty)
            let admin = try await ledger.connect()
            try await admin.execute(script: "ALTER TABLE counts ENABLE ROW LEVEL SECURITY")
            #expect(try await ledger.verify(definition).tablesWithPolicies == ["counts"])
            try await admin.execute(
                script: """
                    ALTER TABLE counts DISABLE ROW LEVEL SECURITY;
                    CREATE RULE lies AS ON INSERT TO counts DO INSTEAD NOTHING
                    """)
            await #expect(throws: Verification.NotProjected.self) { try await ledger.verify(definition) }
            await admin.close()
        }
    }

    // MARK: Code that others would run

    /// A session of a projector that owns a schema with hostile functions, types and operators.
    static func hostileProjector(_ ledger: TestLedger) async throws -> (PostgresConnection, schema: String) {
        let admin = try await ledger.connect()
        try await admin.letProjectorsMakeSchemas(ledger)
        await admin.close()
        let schema = "\(ledger.name)-mine"
        let session = try await ledger.session(as: "projector")
        try await session.execute(
            script: """
                CREATE SCHEMA "\(schema)" AUTHORIZATION "\(ledger.name)_projector";
                SET search_path = "\(schema)", "\(ledger.name)";
                CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql
                  AS $$ BEGIN RAISE 'run as %', current_user; END $$;
                CREATE FUNCTION evil(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql
                  AS $$ BEGIN RAISE 'run as %', current_user; END $$;
                CREATE FUNCTION evil_count() RETURNS bigint LANGUAGE sql RETURN 1;
                CREATE DOMAIN odd AS text CHECK (VALUE <> '');
                CREATE TYPE kind AS ENUM ('a');
                CREATE TABLE other (id text PRIMARY KEY);
                CREATE OPERATOR === (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)
                """)
        return (session, schema)
    }

    /// A projector cannot give a read model anything that makes its users run code.
    @Test func aProjectorCannotChangeAReadModel() async throws {
        try await TestLedger.with { ledger in
            try await ledger.queue("a")
            try await ledger.projecting([try .onePerJob()]) { try await ledger.caughtUp("counts") }
            let (eve, mine) = try await Self.hostileProjector(ledger)
            for sql in [
                "CREATE TRIGGER mine BEFORE INSERT ON counts FOR EACH ROW EXECUTE FUNCTION evil()",
                "CREATE POLICY mine ON counts USING (evil(id))", "ALTER TABLE counts ENABLE ROW LEVEL SECURITY",
                "CREATE RULE \"_RETURN\" AS ON SELECT TO counts DO INSTEAD SELECT ''::text AS id, 1::bigint AS count",
                "CREATE RULE mine AS ON INSERT TO counts DO ALSO SELECT evil('')",
                "ALTER TABLE counts ADD CHECK (evil(id))",
                "ALTER TABLE counts ALTER COLUMN count SET DEFAULT evil_count()", "CREATE INDEX ON counts (evil(id))",
                "ALTER TABLE counts ALTER COLUMN id TYPE odd", "ALTER TABLE counts OWNER TO CURRENT_USER",
                "DROP TABLE counts", "ALTER TABLE counts SET SCHEMA \"\(mine)\"",
                "CREATE TABLE theirs (id text REFERENCES counts ON DELETE CASCADE)",
                "SELECT take_ownership('{other}', null)",
            ] { try await eve.expectRefusal(of: sql) }
            await eve.close()
        }
    }

    private static let plain = "CREATE TABLE tally (id text PRIMARY KEY, count bigint NOT NULL)"

    /// Tables that the ledger does not adopt from the schema `mine`, with a part of the reason.
    private static func unadoptable(in mine: String) -> [(sql: String, reason: String)] {
        [
            ("\(plain); CREATE TRIGGER t BEFORE INSERT ON tally FOR EACH ROW EXECUTE FUNCTION evil()", "triggers"),
            ("\(plain); CREATE POLICY p ON tally USING (evil(id))", "row security"),
            ("\(plain); ALTER TABLE tally FORCE ROW LEVEL SECURITY", "row security"),
            ("\(plain); CREATE RULE r AS ON INSERT TO tally DO ALSO SELECT evil('')", "rules"),
            ("CREATE VIEW tally AS SELECT 1 AS id", "not a plain table"),
            ("CREATE TABLE tally (id text) PARTITION BY LIST (id)", "not a plain table"),
            ("\(plain); CREATE TABLE child () INHERITS (tally)", "not a plain table"),
            ("CREATE UNLOGGED TABLE tally (id text)", "UNLOGGED"),
            ("\(plain); CREATE TABLE child (id text REFERENCES tally)", "child refers to it"),
            ("CREATE TABLE tally (id text REFERENCES other)", "it refers to"),
            ("CREATE TABLE tally (id text CHECK (evil(id)))", "function \"\(mine)\".evil(text)"),
            ("CREATE TABLE tally (id text, count bigint DEFAULT evil_count())", "evil_count"),
            ("CREATE TABLE tally (id text, is_evil boolean GENERATED ALWAYS AS (evil(id)) STORED)", "evil"),
            ("CREATE TABLE tally (id odd)", "type \"\(mine)\".odd"), ("CREATE TABLE tally (id kind[])", "kind"),
            ("CREATE TABLE tally (id other)", "other"), ("\(plain); CREATE INDEX ON tally (evil(id))", "evil"),
            ("\(plain); CREATE INDEX ON tally (count) WHERE evil(id)", "evil"),
            ("\(plain); CREATE STATISTICS s ON (evil(id)), count FROM tally", "evil"),
            ("CREATE TABLE tally (id text CHECK (id === 'a'))", "==="),
        ]
    }

    /// Beside the ledger a projector may make any table, but the ledger adopts none that makes
    /// others run code.
    @Test func theLedgerAdoptsPlainTablesOnly() async throws {
        try await TestLedger.with { ledger in
            let (eve, mine) = try await Self.hostileProjector(ledger)
            for (sql, reason) in Self.unadoptable(in: mine) {
                try await eve.execute(script: "BEGIN; SET LOCAL search_path = \"\(mine)\"; \(sql)")
                let error = await #expect(throws: PostgresError.self, "\(sql)") {
                    try await eve.query("SELECT \"\(ledger.name)\".adopt_table($1, 'tally')", mine)
                }
                #expect(
                    error?.sqlState == .insufficientPrivilege && error?.message.contains(reason) == true,
                    "\(sql): \(String(describing: error))")
                try await eve.execute(script: "ROLLBACK")
            }
            await eve.close()
        }
    }

    /// A plain table is adopted without the rights that its maker granted.
    @Test func anAdoptedTableHasNoRightsOfItsMaker() async throws {
        try await TestLedger.with { ledger in
            let (eve, mine) = try await Self.hostileProjector(ledger)
            try await eve.execute(
                script: """
                    SET search_path = "\(mine)"; \(Self.plain); GRANT ALL ON tally TO PUBLIC;
                    GRANT SELECT ON tally TO "\(ledger.name)_reader" WITH GRANT OPTION
                    """)
            try await eve.query("SELECT \"\(ledger.name)\".adopt_table($1, 'tally')", mine)
            let admin = try await ledger.connect()
            let facts = try await admin.query(
                """
                SELECT pg_get_userbyid(relowner)::text, has_table_privilege($1, oid, 'TRIGGER'),
                       has_table_privilege($1, oid, 'REFERENCES'), has_table_privilege($1, oid, 'INSERT'),
                       (SELECT bool_or(is_grantable) FROM aclexplode(relacl))
                  FROM pg_class WHERE oid = 'tally'::regclass
                """, "\(ledger.name)_projector"
            ).only()
            #expect(try facts.decode(0, as: String.self) == "\(ledger.name)_owner")
            #expect(try (1...4).map { try facts.decode($0, as: Bool.self) } == [false, false, true, false])
            for connection in [eve, admin] { await connection.close() }
        }
    }

    // MARK: Rebuilds

    /// A session that resumes a rebuild writes to its tables. It resumes only a rebuild of a user
    /// with the same rights.
    @Test func aRebuildIsResumedWithTheSameRightsOnly() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.onePerJob()
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            let (eve, admin) = (try await ledger.session(as: "projector"), try await ledger.connect())
            try await admin.letProjectorsMakeSchemas(ledger)
            // An unfinished rebuild, as a projector may invent it.
            try await eve.execute(
                script: """
                    INSERT INTO rebuilds (projection, definition, slices, goal, indexes, started_by)
                    VALUES ('counts', '\(definition.hash)', 1, 1, '{}', 'me');
                    DO $$ BEGIN
                      EXECUTE (SELECT format('CREATE SCHEMA %I AUTHORIZATION %I', current_schema() || '-' || id,
                                             current_schema() || '_projector')
                                 FROM rebuilds);
                    END $$
                    """)
            await #expect(throws: RebuildOfAnother.self) { try await ledger.rebuild(definition) }
            #expect(try await Rebuild.cancel("counts", ledger: ledger.name, on: admin))
            _ = try await ledger.rebuild(definition)
            let owner: String = try await admin.query(
                "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = 'counts'::regclass"
            ).only().decode(0)
            #expect(owner == "\(ledger.name)_owner")
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// A projector says which tables a projection has. Sessions with more rights do not hand it the
    /// ledger's own tables, or move them, for that.
    @Test func theLedgersTablesAreNoReadModels() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.onePerJob()
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            _ = try await ledger.rebuild(definition)
            let (eve, admin) = (try await ledger.session(as: "projector"), try await ledger.connect())
            try await eve.execute(
                script: """
                    UPDATE projections SET tables = tables || '{events,tokens}';
                    UPDATE replaced_tables SET tables = tables || '{events}'
                    """)
            try await admin.query("SELECT hand_over()")
            for replacing in [
                { _ = try await ledger.rebuild(definition) },
                { _ = try await ReplacedTables.undo("counts", ledger: ledger.name, on: admin) },
            ] as [() async throws -> Void] {
                let error = await #expect(throws: PostgresError.self) { try await replacing() }
                // The session may not move the table; or it may, but others depend on the table.
                let refusals: [SQLState?] = [.insufficientPrivilege, SQLState("2BP01")]
                #expect(refusals.contains(error?.sqlState), "\(String(describing: error))")
            }
            let owners = try await admin.query(
                """
                SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class
                 WHERE oid IN ('events'::regclass, 'tokens'::regclass)
                """
            ).map { try $0.decode(0, as: String.self) }
            #expect(owners == ["\(ledger.name)_owner"])
            #expect(try await ledger.count() == 1)
            // Nor does the ledger adopt a missing table, or one with a name that it has already.
            for name in ["events", "counts"] {
                await #expect(throws: PostgresError.self) {
                    try await eve.query("SELECT adopt_table('pg_temp', $1)", name)
                }
            }
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// A session that resumes a rebuild does not run what a projector wrote into its record.
    @Test func aRebuildRunsNoStatementFromItsRecord() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.onePerJob(
                schema: """
                    CREATE TABLE counts (id text PRIMARY KEY, count bigint NOT NULL);
                    CREATE INDEX "by count" ON counts (count);
                    """)
            try await ledger.queue("a")
            let eve = try await ledger.session(as: "projector")
            let admin = try await ledger.connect()
            // It fails before its indexes are made.
            let stopped = try ProjectionDefinition.counting(
                "counts", apply: "SELECT 1 / 0 FROM new_events", schema: definition.schemaSQL)
            await #expect(throws: FoldFailure.self) { _ = try await ledger.rebuild(stopped) }
            let indexes: [String] = try await admin.query("SELECT indexes FROM rebuilds").only().decode(0)
            #expect(indexes == ["by count"])
            try await eve.query(
                "UPDATE rebuilds SET definition = $1, indexes = indexes || 'CREATE TABLE public.planted ()'::text",
                definition.hash)
            _ = try await ledger.rebuild(definition)
            let isAsDefined = try await admin.query(
                "SELECT to_regclass('public.planted') IS NULL AND to_regclass('\"by count\"') IS NOT NULL")
            #expect(try isAsDefined.only().decode(0, as: Bool.self))
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// Whoever may connect can take any advisory lock, and a column can have any name. Neither
    /// stops a projection, and no name runs as SQL.
    @Test func locksAndNamesOfOthersDoNoHarm() async throws {
        try await TestLedger.with { ledger in
            let stranger = try await ledger.connect()
            for seed in [0, 1] {
                for key in ["\(ledger.name).counts", "jobledger swap \(ledger.name).count", "counts"] {
                    try await stranger.query("SELECT pg_advisory_lock(hashtextextended($1, $2))", key, seed)
                }
            }
            let column = #"x" , pg_sleep(600) "y"#
            let quoted = "\"" + column.replacing("\"", with: "\"\"") + "\""
            let definition = try ProjectionDefinition.onePerJob(
                schema: """
                    CREATE TABLE counts (
                      id text PRIMARY KEY, count bigint NOT NULL, \(quoted) text DEFAULT 'it''s'
                    );
                    """)
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            let finding = try await ledger.verify(definition)
            #expect(finding.isEqual)
            let admin = try await ledger.connect()
            try await admin.execute(script: "UPDATE counts SET count = 7")
            let difference = try await ledger.verify(definition).differences.first
            #expect(difference?.columns == ["count"])
            _ = try await ledger.rebuild(definition)
            #expect(try await ledger.verify(definition).isEqual)
            for connection in [stranger, admin] { await connection.close() }
        }
    }
}

extension PostgresConnection {
    fileprivate nonisolated func letProjectorsMakeSchemas(_ ledger: TestLedger) async throws {
        let database: String = try await query("SELECT quote_ident(current_database())").only().decode(0)
        try await execute(script: "GRANT CREATE ON DATABASE \(database) TO \"\(ledger.name)_projector\"")
    }
}
