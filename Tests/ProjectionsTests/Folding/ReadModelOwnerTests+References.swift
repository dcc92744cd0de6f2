import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Tables of one projection may refer to each other. No foreign key leaves a projection: whoever
/// deletes rows at one end has triggers at the other end run.
extension ReadModelOwnerTests {
    private static let pair = """
        CREATE TABLE parents (id serial PRIMARY KEY);
        CREATE TABLE children (id integer PRIMARY KEY, parent integer REFERENCES parents ON DELETE CASCADE)
        """

    /// Adoption, a swap and its undo keep both ends together, whatever the order of the names.
    @Test func tablesOfAProjectionMayReferToEachOther() async throws {
        try await TestLedger.with { ledger in
            let (eve, mine) = try await Self.hostileProjector(ledger)
            let (home, other, aside) = (ledger.name.text, "\(ledger.name)-other", "\(ledger.name)-aside")
            let role = "\(ledger.name)_projector"
            try await eve.execute(script: Self.pair)
            try await eve.query("SELECT adopt_tables($1, '{parents,children}')", mine)
            try await eve.execute(
                script: """
                    INSERT INTO "\(home)".parents VALUES (1); INSERT INTO "\(home)".children VALUES (1, 1);
                    CREATE SCHEMA "\(other)" AUTHORIZATION "\(role)"; CREATE SCHEMA "\(aside)" AUTHORIZATION "\(role)";
                    SET search_path = "\(other)"; \(Self.pair);
                    INSERT INTO parents VALUES (1), (2); INSERT INTO children VALUES (1, 1), (2, 2);
                    SET search_path = "\(home)"
                    """)
            #expect(try await eve.references() == ["\(home) to \(home)", "\(other) to \(other)"])
            // One end alone is not replaced.
            for (function, name) in [
                ("swap_tables", "parents"), ("exchange_tables", "parents"), ("exchange_tables", "children"),
            ] {
                let error = await #expect(throws: PostgresError.self) {
                    try await eve.query("SELECT \(function)($1, '{\(name)}', $2)", other, aside)
                }
                #expect(error?.sqlState == SQLState("2BP01"), "\(function) of \(name): \(String(describing: error))")
            }
            try await eve.query("SELECT swap_tables($1, '{children,parents}', $2)", other, aside)
            #expect(try await eve.references() == ["\(home) to \(home)", "\(aside) to \(aside)"])
            // Nothing is left in the schema of the fresh tables, not even a sequence.
            try await eve.execute(script: "DROP SCHEMA \"\(other)\"; DELETE FROM parents WHERE id = 2")
            #expect(try await eve.query("SELECT count(*) FROM children").only().decode(0, as: Int64.self) == 1)
            #expect(
                try await eve.query("SELECT count(*) FROM \"\(aside)\".children").only().decode(0, as: Int64.self) == 1)

            // The undo.
            try await eve.execute(
                script: """
                    ALTER SCHEMA "\(aside)" RENAME TO "\(other)"; CREATE SCHEMA "\(aside)" AUTHORIZATION "\(role)"
                    """)
            try await eve.query("SELECT swap_tables($1, '{parents,children}', $2)", other, aside)
            try await eve.execute(script: "DROP SCHEMA \"\(other)\"; DROP SCHEMA \"\(aside)\" CASCADE")
            #expect(try await eve.references() == ["\(home) to \(home)"])
            let owners = try await eve.query(
                """
                SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class
                 WHERE relnamespace = current_schema()::regnamespace
                   AND relname IN ('parents', 'parents_id_seq', 'children')
                """
            ).map { try $0.decode(0, as: String.self) }
            #expect(owners == ["\(ledger.name)_owner"])
            await eve.close()
        }
    }

    /// Foreign keys to and from `parents` and `children` that are refused, with a part of the
    /// reason.
    private static func strayReferences(_ ledger: TestLedger) -> [(sql: String, names: String, reason: String)] {
        let elsewhere = "CREATE SCHEMA \"\(ledger.name)-elsewhere\" AUTHORIZATION \"\(ledger.name)_projector\""
        return [
            ("SELECT", "parents", "children refers to it"), ("SELECT", "children", "it refers to"),
            ("CREATE TABLE third (id integer REFERENCES parents)", "parents,children", "third refers to it"),
            (
                "\(elsewhere); CREATE TABLE \"\(ledger.name)-elsewhere\".third (id integer REFERENCES parents)",
                "parents,children", "third refers to it"
            ),
            (
                "\(elsewhere); CREATE TABLE \"\(ledger.name)-elsewhere\".third (id integer PRIMARY KEY);"
                    + "ALTER TABLE parents ADD FOREIGN KEY (id) REFERENCES \"\(ledger.name)-elsewhere\".third",
                "parents,children", "it refers to"
            ),
            (
                "ALTER TABLE children ADD FOREIGN KEY (parent) REFERENCES \"\(ledger.name)\".counts",
                "parents,children", "permission denied"
            ),
            (
                "ALTER TABLE children ALTER CONSTRAINT children_parent_fkey DEFERRABLE INITIALLY DEFERRED",
                "parents,children", "checked at the end of a transaction"
            ),
            (
                "CREATE TRIGGER t BEFORE DELETE ON children FOR EACH ROW EXECUTE FUNCTION evil()",
                "parents,children", "has triggers"
            ),
            // The owner deletes at one end, and a constraint of the other runs SQL from a text.
            (
                "ALTER TABLE children ADD CHECK (query_to_xml('SELECT 1', true, true, '') IS NOT NULL)",
                "parents,children", "an expression of it calls query_to_xml"
            ),
            (
                "ALTER TABLE children ADD CHECK (\"\(ledger.name)\".head() IS NOT NULL) NOT VALID",
                "parents,children", "an expression of it calls"
            ),
            (
                "CREATE STATISTICS s ON (query_to_xml('SELECT 1', true, true, '')::text), parent FROM children",
                "parents,children", "an expression of it calls query_to_xml"
            ),
            (
                "CREATE FUNCTION shout(children) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$;"
                    + "CREATE CAST (children AS text) WITH FUNCTION shout(children)",
                "parents,children", "its row type has a cast"
            ),
        ]
    }

    @Test func noReferenceLeavesAProjection() async throws {
        try await TestLedger.with { ledger in
            let (eve, mine) = try await Self.hostileProjector(ledger)
            // A read model of another projection.
            try await eve.execute(script: "CREATE TABLE counts (id integer PRIMARY KEY)")
            try await eve.query("SELECT adopt_tables($1, '{counts}')", mine)
            for (sql, names, reason) in Self.strayReferences(ledger) {
                try await eve.execute(script: "BEGIN; SET LOCAL search_path = \"\(mine)\"; \(Self.pair)")
                let error = await #expect(throws: PostgresError.self, "\(sql)") {
                    try await eve.execute(script: sql)
                    try await eve.query("SELECT \"\(ledger.name)\".adopt_tables($1, $2::text[])", mine, "{\(names)}")
                }
                #expect(
                    error?.sqlState == .insufficientPrivilege && error?.message.contains(reason) == true,
                    "\(sql): \(String(describing: error))")
                try await eve.execute(script: "ROLLBACK")
            }
            await eve.close()
        }
    }

    /// A transaction of another isolation would not see what was added to a table meanwhile, such
    /// as a trigger.
    @Test func tablesAreTakenOverInReadCommittedAlone() async throws {
        try await TestLedger.with { ledger in
            let (eve, mine) = try await Self.hostileProjector(ledger)
            let helper = try await ledger.session(as: "projector", user: "mallory")
            try await eve.execute(script: "CREATE TABLE tally (id text PRIMARY KEY)")
            for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
                try await eve.execute(script: "BEGIN ISOLATION LEVEL \(isolation); SELECT count(*) FROM pg_trigger")
                try await helper.execute(
                    script: """
                        SET search_path = "\(mine)";
                        CREATE OR REPLACE TRIGGER t BEFORE INSERT ON tally FOR EACH ROW EXECUTE FUNCTION evil()
                        """)
                try await eve.expectRefusal(of: "SELECT adopt_table('\(mine)', 'tally')")
                try await eve.execute(script: "ROLLBACK")
                try await eve.execute(script: "BEGIN ISOLATION LEVEL \(isolation)")
                try await eve.expectRefusal(of: "SELECT exchange_tables('none', '{tally}', '\(mine)')")
                try await eve.execute(script: "ROLLBACK")
            }
            // Put aside into the ledger's own schema, a table would stay and be no read model.
            try await eve.expectRefusal(of: "SELECT exchange_tables('none', '{}', '\(ledger.name)')")
            for connection in [eve, helper] { await connection.close() }
        }
    }
}

extension PostgresConnection {
    /// For each foreign key of a table `children` in which schemas its ends are.
    fileprivate nonisolated func references() async throws -> [String] {
        try await query(
            """
            SELECT referring.relnamespace::regnamespace::text || ' to ' || referred.relnamespace::regnamespace
              FROM pg_constraint
              JOIN pg_class AS referring ON referring.oid = conrelid
              JOIN pg_class AS referred ON referred.oid = confrelid
             WHERE conname = 'children_parent_fkey' AND starts_with(connamespace::regnamespace::text,
                                                                    '"' || current_schema())
                OR conname = 'children_parent_fkey' AND connamespace = current_schema()::regnamespace
            """
        ).map { try $0.decode(0, as: String.self).replacing("\"", with: "") }.sorted()
    }
}
