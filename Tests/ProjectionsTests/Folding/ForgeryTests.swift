import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// What docs call evidence says who and when by itself: each role tries to write it otherwise.
@Suite struct ForgeryTests {
    /// A session of a user of one's own who has one role, as services have.
    private static func session(_ ledger: TestLedger, _ role: String, as name: String = "eve") async throws
        -> PostgresConnection
    {
        let connection = try await ledger.connect()
        let user = "\(ledger.name)_\(role)_\(name)"
        let group = "\(ledger.name)_\(role)"
        try await connection.execute(
            script: """
                CREATE ROLE "\(user)" IN ROLE "\(group)"; SET SESSION AUTHORIZATION "\(user)"
                \(role == "projector" ? "; SET ROLE \"\(group)\"" : "")
                """)
        return connection
    }

    private static func user(of connection: PostgresConnection) async throws -> String {
        try await connection.query("SELECT session_user::text").only().decode(0)
    }

    /// Says that it is refused for want of rights, whatever is tried.
    private static func refused(_ connection: PostgresConnection, _ sql: String) async throws {
        let error = await #expect(throws: PostgresError.self, "\(sql)") {
            try await connection.query(PostgresStatement(sql))
        }
        #expect(error?.sqlState == .insufficientPrivilege, "\(sql): \(String(describing: error))")
    }

    /// Every record, by every role, past the functions.
    @Test(arguments: ["appender", "reader", "subscriber", "relay", "projector", "sealer", "auditor"])
    func noRoleWritesARecordItself(_ role: String) async throws {
        try await TestLedger.with { ledger in
            let eve = try await Self.session(ledger, role)
            for record in [
                "events", "ledger", "refusals", "receipts", "skipped_events", "drift_checks", "subscriptions", "tokens",
                "seal",
                "seal_tiles",
                "seal_checkpoints", "schema_migrations",
            ] {
                let column: String = try await ledger.store.pool.withConnection {
                    try await $0.query(
                        "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND attidentity = '' LIMIT 1",
                        record
                    ).first?.decode(0) ?? ""
                }
                if column.isEmpty { continue }
                for sql in [
                    "INSERT INTO \(record) DEFAULT VALUES", "UPDATE \(record) SET \(column) = \(column)",
                    "DELETE FROM \(record)",
                    "TRUNCATE \(record)", "ALTER TABLE \(record) DISABLE TRIGGER ALL", "DROP TABLE \(record)",
                ] { try await Self.refused(eve, sql) }
            }
            // Nor does it make what the ledger's functions would take for something else.
            for sql in [
                "CREATE FUNCTION \(ledger.name).lower(name) RETURNS text LANGUAGE sql RETURN 'x'",
                "CREATE TABLE \(ledger.name).mine ()",
                "CREATE VIEW \(ledger.name).mine AS SELECT 1", "CREATE TYPE \(ledger.name).mine AS ENUM ()",
                "CREATE OPERATOR \(ledger.name).= (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)",
                "CREATE FUNCTION \(ledger.name).head(text) RETURNS bigint LANGUAGE sql RETURN 1",
            ] { try await Self.refused(eve, sql) }
            await eve.close()
        }
    }

    private static func note(
        _ connection: PostgresConnection, ago: (Int64, Int64) = (0, 0), times: Int64 = 1, text: String = "x",
        code: String = "forbidden",
        rows: Int = 1
    ) async throws {
        func all<Value>(_ value: Value) -> [Value] { Array(repeating: value, count: rows) }
        try await connection.query(
            "SELECT note_refusals($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)", all(ago.0), all(ago.1),
            all(times),
            all(text),
            all(text), all(text), all(text), all(text), all(text), all(text), all(EventID.version7()), all(code),
            all(text))
    }

    /// A refusal of any time, author, length and number: the time is the database's, the author the
    /// session's, the rest is bounded.
    @Test func refusalsHaveTheSessionsAuthorAndTheDatabasesTime() async throws {
        try await TestLedger.with { ledger in
            let appender = try await Self.session(ledger, "appender")
            let far = Int64.max
            try await Self.note(appender, ago: (far, 0), times: far, text: String(repeating: "ü", count: 100_000))
            try await Self.note(appender, ago: (-far, -far))
            try await Self.note(appender, ago: (0, 60_000))
            let admin = try await ledger.connect()
            let rows = try await admin.query(
                """
                SELECT last_at BETWEEN clock_timestamp() - interval '10 min' AND clock_timestamp(), first_at >= last_at - interval '1 hour',
                       noted_by = $1,
                       greatest(length(token), length(peer), length(method), length(path), length(actor), length(job), length(type), length(detail)) <= 300,
                       times <= 1000000000
                  FROM refusals
                """, try await Self.user(of: appender))
            #expect(rows.count == 3)
            for row in rows {
                for column in 0..<5 { #expect(try row.decode(column, as: Bool.self), "condition \(column)") }
            }
            // What is no code, not positive, or more than a service ever has at once.
            await #expect(throws: PostgresError.self) { try await Self.note(appender, code: "it was ada") }
            await #expect(throws: PostgresError.self) { try await Self.note(appender, times: 0) }
            let error = await #expect(throws: PostgresError.self) { try await Self.note(appender, rows: 2001) }
            #expect(error?.message.contains("at most 2000") == true)
            // What is written past the function, by the owner, has the same bounds.
            await #expect(throws: PostgresError.self) {
                try await admin.query(
                    """
                    INSERT INTO refusals (first_at, last_at, times, method, path, code, detail)
                    VALUES ('-infinity', 'infinity', 1, 'GET', '/', 'forbidden', '')
                    """)
            }
            for connection in [appender, admin] { await connection.close() }
        }
    }

    /// A projector takes out of its tables what an event gave, and has that event skipped: verify
    /// says so, and by whom.
    @Test func aSkipWithoutNeedIsNoticed() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.counting(
                "counts",
                apply: """
                    INSERT INTO counts SELECT stream_id, count(*) FROM new_events GROUP BY stream_id
                    ON CONFLICT (id) DO UPDATE SET count = counts.count + excluded.count
                    """)
            try await ledger.queue("a")
            for count in 1...3 { try await ledger.progress("a", count) }
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            let eve = try await Self.session(ledger, "projector")
            try await Self.refused(
                eve,
                """
                INSERT INTO skipped_events (projection, definition, position, event_id, error, reason, skipped_by, role)
                VALUES ('counts', '\(definition.hash)', 4, gen_random_uuid(), 'x', 'x', 'ada', 'ada')
                """)
            let skip = PostgresStatement("SELECT skip_event('counts', 4, 'no need', 'ada@home')")
            await #expect(throws: PostgresError.self, "it is not stopped") { try await eve.query(skip) }
            try await eve.execute(
                script:
                    "UPDATE projections SET state = 'stopped', failed_position = 4, error = 'made up', position = 3 WHERE name = 'counts'"
            )
            try await eve.query(skip)
            try await eve.execute(
                script: "UPDATE counts SET count = 3; UPDATE projections SET position = 4 WHERE name = 'counts'")
            let finding = try await ledger.verify(definition)
            #expect(finding.liveDigest == finding.rebuiltDigest && !finding.isEqual)
            let skipped = try #require(finding.skipped.first)
            #expect(finding.skipped.count == 1 && skipped.canBeFolded && skipped.record.position == 4)
            let author = try await Self.user(of: eve)
            #expect(skipped.record.role == author && skipped.record.skippedBy == "ada@home")
            // The receipt of it says that something was left out.
            let admin = try await ledger.connect()
            let receipt = try #require(try await RecordedReceipt.last(1, of: "counts", on: admin).first)
            #expect(receipt.leftOut == 1)
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// Who owns a read model hides rows of it from others: verify says so, and reads no view in its
    /// place.
    @Test func aTableThatIsNoneIsNoticed() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.counting(
                "counts", apply: "INSERT INTO counts SELECT stream_id, 1 FROM new_events ON CONFLICT DO NOTHING")
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            #expect(try await ledger.verify(definition).tablesWithPolicies.isEmpty)
            let admin = try await ledger.connect()
            try await admin.execute(script: "ALTER TABLE counts ENABLE ROW LEVEL SECURITY")
            #expect(try await ledger.verify(definition).tablesWithPolicies == ["counts"])
            try await admin.execute(
                script:
                    "ALTER TABLE counts DISABLE ROW LEVEL SECURITY; CREATE RULE lies AS ON INSERT TO counts DO INSTEAD NOTHING"
            )
            await #expect(throws: Verification.NotProjected.self) { try await ledger.verify(definition) }
            await admin.close()
        }
    }

    /// A table that makes others run code, with their rights: a projector cannot make one of a read
    /// model, nor bring one in.
    @Test func aReadModelRunsNoCodeOfAProjectors() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.counting(
                "counts", apply: "INSERT INTO counts SELECT stream_id, 1 FROM new_events ON CONFLICT DO NOTHING")
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            let (eve, admin) = (try await Self.session(ledger, "projector"), try await ledger.connect())
            let database: String = try await admin.query("SELECT quote_ident(current_database())").only().decode(0)
            try await admin.execute(script: "GRANT CREATE ON DATABASE \(database) TO \"\(ledger.name)_projector\"")
            let mine = "\(ledger.name)-mine"
            try await eve.execute(
                script: """
                    CREATE SCHEMA "\(mine)" AUTHORIZATION "\(ledger.name)_projector"; SET search_path = "\(mine)", "\(ledger.name)";
                    CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'run as %', current_user; END $$;
                    CREATE FUNCTION evil(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE 'run as %', current_user; END $$;
                    CREATE FUNCTION evil_count() RETURNS bigint LANGUAGE sql RETURN 1;
                    CREATE DOMAIN odd AS text CHECK (VALUE <> ''); CREATE TYPE kind AS ENUM ('a'); CREATE TABLE other (id text PRIMARY KEY);
                    CREATE OPERATOR === (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)
                    """)
            for sql in [
                "CREATE TRIGGER mine BEFORE INSERT ON counts FOR EACH ROW EXECUTE FUNCTION evil()",
                "CREATE POLICY mine ON counts USING (evil(id))", "ALTER TABLE counts ENABLE ROW LEVEL SECURITY",
                "CREATE RULE \"_RETURN\" AS ON SELECT TO counts DO INSTEAD SELECT ''::text AS id, 1::bigint AS count",
                "CREATE RULE mine AS ON INSERT TO counts DO ALSO SELECT evil('')",
                "ALTER TABLE counts ADD CHECK (evil(id))",
                "ALTER TABLE counts ALTER COLUMN count SET DEFAULT evil_count()", "CREATE INDEX ON counts (evil(id))",
                "ALTER TABLE counts ALTER COLUMN id TYPE odd", "ALTER TABLE counts OWNER TO CURRENT_USER",
                "DROP TABLE counts",
                "ALTER TABLE counts SET SCHEMA \"\(mine)\"",
                "CREATE TABLE theirs (id text REFERENCES counts ON DELETE CASCADE)",
                "SELECT take_ownership('other', null)",
            ] { try await Self.refused(eve, sql) }
            // Beside the ledger a projector makes what it likes. The ledger does not take it over.
            let table = "CREATE TABLE tally (id text PRIMARY KEY, count bigint NOT NULL)"
            for (sql, reason) in [
                ("\(table); CREATE TRIGGER t BEFORE INSERT ON tally FOR EACH ROW EXECUTE FUNCTION evil()", "triggers"),
                ("\(table); CREATE POLICY p ON tally USING (evil(id))", "row security"),
                ("\(table); ALTER TABLE tally FORCE ROW LEVEL SECURITY", "row security"),
                ("\(table); CREATE RULE r AS ON INSERT TO tally DO ALSO SELECT evil('')", "rules"),
                ("CREATE VIEW tally AS SELECT 1 AS id", "no plain table"),
                ("CREATE TABLE tally (id text) PARTITION BY LIST (id)", "no plain table"),
                ("\(table); CREATE TABLE child () INHERITS (tally)", "no plain table"),
                ("CREATE UNLOGGED TABLE tally (id text)", "UNLOGGED"),
                ("\(table); CREATE TABLE child (id text REFERENCES tally)", "refer to it"),
                ("CREATE TABLE tally (id text REFERENCES other)", "uses the"),
                ("CREATE TABLE tally (id text CHECK (evil(id)))", "function \"\(mine)\".evil(text)"),
                ("CREATE TABLE tally (id text, count bigint DEFAULT evil_count())", "evil_count"),
                ("CREATE TABLE tally (id text, is_evil boolean GENERATED ALWAYS AS (evil(id)) STORED)", "evil"),
                ("CREATE TABLE tally (id odd)", "type \"\(mine)\".odd"), ("CREATE TABLE tally (id kind[])", "kind"),
                ("CREATE TABLE tally (id other)", "other"), ("\(table); CREATE INDEX ON tally (evil(id))", "evil"),
                ("\(table); CREATE INDEX ON tally (count) WHERE evil(id)", "evil"),
                ("\(table); CREATE STATISTICS s ON (evil(id)), count FROM tally", "evil"),
                ("CREATE TABLE tally (id text CHECK (id === 'a'))", "==="),
            ] {
                try await eve.execute(script: "BEGIN; SET LOCAL search_path = \"\(mine)\"; \(sql)")
                let error = await #expect(throws: PostgresError.self, "\(sql)") {
                    try await eve.query("SELECT \"\(ledger.name)\".adopt_table($1, 'tally')", mine)
                }
                #expect(
                    error?.sqlState == .insufficientPrivilege && error?.message.contains(reason) == true,
                    "\(sql): \(String(describing: error))")
                try await eve.execute(script: "ROLLBACK")
            }
            // A plain one is taken over, with no right in it that its maker has given away.
            try await eve.execute(
                script:
                    "SET search_path = \"\(mine)\"; \(table); GRANT ALL ON tally TO PUBLIC; GRANT SELECT ON tally TO \"\(ledger.name)_reader\" WITH GRANT OPTION"
            )
            try await eve.query("SELECT \"\(ledger.name)\".adopt_table($1, 'tally')", mine)
            let facts = try await admin.query(
                """
                SELECT pg_get_userbyid(relowner)::text, has_table_privilege($1, oid, 'TRIGGER'), has_table_privilege($1, oid, 'REFERENCES'),
                       has_table_privilege($1, oid, 'INSERT'), (SELECT bool_or(is_grantable) FROM aclexplode(relacl))
                  FROM pg_class WHERE oid = 'tally'::regclass
                """, "\(ledger.name)_projector"
            ).only()
            #expect(try facts.decode(0, as: String.self) == "\(ledger.name)_owner")
            #expect(try (1...4).map { try facts.decode($0, as: Bool.self) } == [false, false, true, false])
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// Whoever may connect may take any advisory lock; and a column may have any name. Neither
    /// keeps a projection from its work, or runs as SQL.
    @Test func strangersNamesAndLocksStopNothing() async throws {
        try await TestLedger.with { ledger in
            let stranger = try await ledger.connect()
            for seed in [0, 1] {
                for key in ["\(ledger.name).counts", "jobledger swap \(ledger.name).count", "counts"] {
                    try await stranger.query("SELECT pg_advisory_lock(hashtextextended($1, $2))", key, seed)
                }
            }
            let column = #"x" , pg_sleep(600) "y"#
            let definition = try ProjectionDefinition.counting(
                "counts", apply: "INSERT INTO counts SELECT stream_id, 1 FROM new_events ON CONFLICT DO NOTHING",
                schema:
                    #"CREATE TABLE counts (id text PRIMARY KEY, count bigint NOT NULL, "\#(column.replacing("\"", with: "\"\""))" text DEFAULT 'it''s');"#
            )
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

    /// Row policies do not reach a lock of the whole table: no part may take one, and stop the
    /// others so.
    @Test func noPartLocksAnothersLease() async throws {
        try await TestLedger.with { ledger in
            for role in ["appender", "reader", "subscriber", "relay", "projector", "sealer", "auditor"] {
                let eve = try await Self.session(ledger, role)
                for table in [
                    "leases", "checkpoints", "events", "ledger", "serialiser", "seal", "tokens", "subscriptions",
                    "refusals",
                    "receipts",
                    "skipped_events", "read_models", "feed_key", "schema_migrations", "projections",
                ] {
                    for mode in ["SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"] {
                        try await Self.refused(eve, "DO $$ BEGIN LOCK TABLE \(table) IN \(mode) MODE; END $$")
                    }
                }
                await eve.close()
            }
        }
    }

    /// Who goes on with a rebuild writes to its tables: only those of somebody with the same
    /// rights.
    @Test func aRebuildIsGoneOnWithByItsOwnKind() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.counting(
                "counts", apply: "INSERT INTO counts SELECT stream_id, 1 FROM new_events ON CONFLICT DO NOTHING")
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            let (eve, admin) = (try await Self.session(ledger, "projector"), try await ledger.connect())
            let database: String = try await admin.query("SELECT quote_ident(current_database())").only().decode(0)
            try await admin.execute(script: "GRANT CREATE ON DATABASE \(database) TO \"\(ledger.name)_projector\"")
            // A rebuild that was begun and not finished, as a projector may make it up.
            try await eve.execute(
                script: """
                    INSERT INTO rebuilds (projection, definition, slices, goal, indexes, started_by) VALUES ('counts', '\(definition.hash)', 1, 1, '{}', 'me');
                    DO $$ BEGIN EXECUTE (SELECT format('CREATE SCHEMA %I AUTHORIZATION %I', current_schema() || '-' || id, current_schema() || '_projector') FROM rebuilds); END $$
                    """)
            await #expect(throws: RebuildOfAnother.self) { try await ledger.rebuild(definition) }
            #expect(try await Rebuild.cancel("counts", ledger: ledger.name, on: admin))
            _ = try await ledger.rebuild(definition)
            #expect(
                try await admin.query(
                    "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = 'counts'::regclass"
                )
                .only().decode(
                    0, as: String.self) == "\(ledger.name)_owner")
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// A receipt and a comparison are by the session's user, at the database's time; what was found
    /// once is not taken back.
    @Test func receiptsAndComparisonsHaveTheSessionsAuthor() async throws {
        try await TestLedger.with { ledger in
            let eve = try await Self.session(ledger, "projector")
            try await eve.query(
                "SELECT record_receipt('undo', 'counts', 'x', 1, null, null, null, null, null, null, null, null, $1)",
                String(repeating: "ada", count: 1000))
            let admin = try await ledger.connect()
            let row = try await admin.query(
                "SELECT role, length(made_by), made_at BETWEEN clock_timestamp() - interval '10 min' AND clock_timestamp() FROM receipts"
            ).only()
            let author = try await Self.user(of: eve)
            #expect(try row.decode(0, as: String.self) == author)
            #expect(try row.decode(1, as: Int32.self) == 300 && row.decode(2, as: Bool.self))
            // What could not be written down again.
            for seconds in [-1, 1.7e308, .infinity, .nan] {
                await #expect(throws: PostgresError.self, "\(seconds)") {
                    try await eve.query(
                        "SELECT record_receipt('undo', 'counts', 'x', 1, null, null, null, null, $1, null, null, null, 'me')",
                        seconds)
                }
            }
            try await eve.query("SELECT record_drift_check('counts', 10, 2, 5, 'a row')")
            for (compared, differing) in [(-10, -2), (1, 2), (Int64.max, 0)] {
                await #expect(throws: PostgresError.self) {
                    try await eve.query("SELECT record_drift_check('counts', $1, $2, 5, null)", compared, differing)
                }
            }
            try await eve.query("SELECT record_drift_check('counts', 10, 0, 6, null)")
            let drift = try await admin.query("SELECT jobs, drifted, last_drift, checked_by FROM drift_checks").only()
            #expect(try drift.decode(0, as: Int64.self) == 20 && drift.decode(1, as: Int64.self) == 2)
            #expect(try drift.decode(2, as: String.self) == "a row" && drift.decode(3, as: String.self) == author)
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// Which tables a projection has is what projectors say: no one with more rights gives them, or
    /// moves, the ledger's own for it.
    @Test func theLedgersTablesAreNobodysReadModels() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.counting(
                "counts", apply: "INSERT INTO counts SELECT stream_id, 1 FROM new_events ON CONFLICT DO NOTHING")
            try await ledger.queue("a")
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            _ = try await ledger.rebuild(definition)
            let (eve, admin) = (try await Self.session(ledger, "projector"), try await ledger.connect())
            try await eve.execute(
                script:
                    "UPDATE projections SET tables = tables || '{events,tokens}'; UPDATE replaced_tables SET tables = tables || '{events}'"
            )
            try await admin.query("SELECT hand_over()")
            for replacing in [
                { _ = try await ledger.rebuild(definition) },
                { _ = try await ReplacedTables.undo("counts", ledger: ledger.name, on: admin) },
            ] as [() async throws -> Void] {
                let error = await #expect(throws: PostgresError.self) { try await replacing() }
                // Not its table to move, or, to who may move all, one that others depend on.
                let refusals: [SQLState?] = [.insufficientPrivilege, SQLState("2BP01")]
                #expect(refusals.contains(error?.sqlState), "\(String(describing: error))")
            }
            let owners = try await admin.query(
                "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid IN ('events'::regclass, 'tokens'::regclass)"
            ).map { try $0.decode(0, as: String.self) }
            #expect(owners == ["\(ledger.name)_owner"])
            #expect(try await ledger.count() == 1)
            // Nor does the ledger adopt what is not there, or of a name that it has.
            for name in ["events", "counts"] {
                await #expect(throws: PostgresError.self) {
                    try await eve.query("SELECT adopt_table('pg_temp', $1)", name)
                }
            }
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// What a projector writes about a rebuild is not run by whoever goes on with it.
    @Test func aRebuildRunsNoStatementFromATable() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.counting(
                "counts", apply: "INSERT INTO counts SELECT stream_id, 1 FROM new_events ON CONFLICT DO NOTHING",
                schema:
                    "CREATE TABLE counts (id text PRIMARY KEY, count bigint NOT NULL); CREATE INDEX \"by count\" ON counts (count);"
            )
            try await ledger.queue("a")
            let eve = try await Self.session(ledger, "projector")
            let admin = try await ledger.connect()
            // Stopped where its indexes are still to be made.
            let stopped = try ProjectionDefinition.counting(
                "counts", apply: "SELECT 1 / 0 FROM new_events", schema: definition.schemaSQL)
            await #expect(throws: FoldFailure.self) { _ = try await ledger.rebuild(stopped) }
            #expect(
                try await admin.query("SELECT indexes FROM rebuilds").only().decode(0, as: [String].self) == [
                    "by count"
                ])
            try await eve.query(
                "UPDATE rebuilds SET definition = $1, indexes = indexes || 'CREATE TABLE public.planted ()'::text",
                definition.hash)
            _ = try await ledger.rebuild(definition)
            #expect(
                try await admin.query(
                    "SELECT to_regclass('public.planted') IS NULL AND to_regclass('\"by count\"') IS NOT NULL"
                )
                .only().decode(0, as: Bool.self))
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// One subscriber reads all there is to read of another's subscription, and can neither move,
    /// nor take, nor forget it; not while it is held, and not when its process has been gone for
    /// long.
    @Test func aSubscriptionIsItsUsers() async throws {
        try await TestLedger.with { ledger in
            for _ in 1...2 { try await ledger.queue(EventID.version7().text) }
            let (ada, eve) = (
                try await Self.session(ledger, "subscriber", as: "ada"),
                try await Self.session(ledger, "subscriber", as: "eve")
            )
            let secret = EventID.version7().text
            try await ada.query("SELECT take_subscription('mail', $1, '30 s', 0)", secret)
            let holder: String = try await eve.query("SELECT holder FROM subscriptions WHERE name = 'mail'").only()
                .decode(0)
            #expect(holder != secret)
            func tries(_ connection: PostgresConnection, _ holder: String) async throws {
                #expect(
                    try await !connection.query("SELECT acknowledge('mail', $1, 2)", holder).only().decode(
                        0, as: Bool.self))
                try await connection.query("SELECT release_subscription('mail', $1)", holder)
            }
            try await tries(eve, holder)
            try await tries(eve, secret)
            // Another process of the same user does not know the secret either.
            try await tries(ada, holder)
            #expect(try await ada.query("SELECT take_subscription('mail', $1, '30 s', 0)", holder).isEmpty)
            for isHeld in [true, false] {
                if !isHeld { try await ada.query("SELECT release_subscription('mail', $1)", secret) }
                await #expect(throws: PostgresError.self) {
                    try await eve.query("SELECT take_subscription('mail', $1, '30 s', 0)", holder)
                }
                await #expect(throws: PostgresError.self) { try await eve.query("SELECT forget_subscription('mail')") }
            }
            let row = try await ledger.store.pool.withConnection {
                try await $0.query("SELECT position, bound_to FROM subscriptions").only()
            }
            #expect(try row.decode(0, as: Position.self) == 0)
            let author = try await Self.user(of: ada)
            #expect(try row.decode(1, as: String.self) == author)
            // The owner gives it away, and then it is the other's.
            _ = try await ledger.store.pool.withConnection {
                try await $0.query("SELECT give_subscription('mail', $1)", try await Self.user(of: eve))
            }
            try await eve.query("SELECT take_subscription('mail', $1, '30 s', 0)", EventID.version7().text)
            await #expect(throws: PostgresError.self) {
                try await ada.query("SELECT take_subscription('mail', $1, '30 s', 0)", secret)
            }
            for connection in [ada, eve] { await connection.close() }
        }
    }
}
