import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// The table of docs/security.md is what the roles of a ledger may do: every relation, function and
/// role, both ways.
struct PrivilegesTests {
    private static let page = Repository.root.appending(path: "docs/security.md")

    private static let privileges = [
        "SELECT": "read", "INSERT": "add", "UPDATE": "change", "DELETE": "remove", "TRUNCATE": "truncate",
        "REFERENCES": "refer",
        "TRIGGER": "trigger",
    ]

    /// `ROLE may WORD OBJECT`, one for each.
    private static func documented() throws -> (roles: [String], rights: Set<String>, ownersFunctions: Set<String>) {
        let lines = try String(contentsOf: page, encoding: .utf8).split(separator: "\n").map(String.init)
        func cells(_ line: String) -> [String] {
            line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast().map {
                $0.trimmingCharacters(in: .whitespaces)
            }
        }
        let header = try #require(lines.firstIndex { $0.hasPrefix("| | appender |") })
        let roles = Array(cells(lines[header]).dropFirst())
        var rights: Set<String> = []
        for line in lines[(header + 2)...].prefix(while: { $0.hasPrefix("|") }) {
            let row = cells(line)
            let object = row[0].replacing("`", with: "")
            for (role, cell) in zip(roles, row.dropFirst()) {
                for word in cell.split(separator: ", ") { rights.insert("\(role) may \(word) \(object)") }
            }
        }
        let paragraph = try #require(lines.firstIndex { $0.hasPrefix("Only the owner runs: ") })
        let owners = lines[paragraph...].prefix { !$0.isEmpty }.joined(separator: " ")
        return (roles, rights, Set(owners.matches(of: /`([a-z_0-9]+)\(\)`/).map { String($0.1) }))
    }

    @Test func theTableIsWhatTheRolesMayDo() async throws {
        let (roles, documented, ownersFunctions) = try Self.documented()
        try await TestLedger.with { ledger in
            let definitions = try ProjectionDefinition.all()
            try await ledger.queue("a")
            try await ledger.projecting(definitions) {
                _ = try await eventually("the read models are made") {
                    try await ledger.store.pool.withConnection { connection in
                        try await connection.query("SELECT FROM projections WHERE position = 1").count
                            == definitions.count
                            ? true : nil
                    }
                }
            }
            let connection = try await ledger.connect()
            try await connection.query("SELECT hand_over()")
            let tables = definitions.flatMap(\.tables)
            var actual: Set<String> = []
            for role in roles {
                let name = "\(ledger.name)_\(role)"
                for (privilege, word) in Self.privileges {
                    for row in try await connection.query(
                        """
                        SELECT relname FROM pg_class
                         WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f')
                           AND (has_table_privilege($1, oid, $2) OR $2 = 'UPDATE' AND has_any_column_privilege($1, oid, $2))
                        """, name, privilege)
                    {
                        let table: String = try row.decode(0)
                        actual.insert("\(role) may \(word) \(tables.contains(table) ? "read models" : table)")
                    }
                }
                // Tokens may be seen but for one column: those that may be seen whole are told as
                // such above.
                let columns = try await connection.query(
                    """
                    SELECT relname, count(*) FILTER (WHERE has_column_privilege($1, attrelid, attnum, 'SELECT')), count(*),
                           bool_or(has_column_privilege($1, attrelid, attnum, 'SELECT') AND attname = 'hash'),
                           bool_or(has_column_privilege($1, attrelid, attnum, 'INSERT') OR has_column_privilege($1, attrelid, attnum, 'UPDATE'))
                      FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                     WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
                       AND NOT has_table_privilege($1, attrelid, 'SELECT')
                     GROUP BY relname
                    """, name)
                for row in columns where try row.decode(1, as: Int64.self) > 0 {
                    let table: String = try row.decode(0)
                    #expect(
                        try row.decode(1, as: Int64.self) == row.decode(2, as: Int64.self) - 1,
                        "\(role) and the columns of \(table)")
                    #expect(try !row.decode(3, as: Bool.self) && !row.decode(4, as: Bool.self), "\(role) and \(table)")
                    actual.insert("\(role) may read \(table) without hash")
                }
                for row in try await connection.query(
                    "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND has_function_privilege($1, oid, 'EXECUTE')",
                    name)
                {
                    actual.insert("\(role) may run \(try row.decode(0, as: String.self))()")
                }
                let schema = try await connection.query(
                    "SELECT has_schema_privilege($1, current_schema(), 'USAGE'), has_schema_privilege($1, current_schema(), 'CREATE')",
                    name
                ).only()
                #expect(try schema.decode(0, as: Bool.self), "\(role) may use the schema")
                #expect(try !schema.decode(1, as: Bool.self), "\(role) may make something in the schema")
                #expect(
                    try await connection.query(
                        "SELECT rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication FROM pg_roles WHERE rolname = $1",
                        name
                    ).only().decode(0, as: Bool.self) == false, "\(role)")
            }
            for right in actual.subtracting(documented).sorted() { Issue.record("not in docs/security.md: \(right)") }
            for right in documented.subtracting(actual).sorted() {
                Issue.record("in docs/security.md, and not so: \(right)")
            }

            let rest = try await connection.query(
                "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
            )
            .map { try $0.decode(0, as: String.self) }.filter { name in
                !roles.contains { actual.contains("\($0) may run \(name)()") }
            }
            #expect(Set(rest) == ownersFunctions, "the line \"Only the owner runs\" of docs/security.md")

            // Nothing is granted to everybody, and nobody else has anything.
            let grantees = try await connection.query(
                """
                SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END AS grantee, object
                  FROM (SELECT coalesce(relacl, acldefault('r', relowner)) AS acl, relname::text AS object FROM pg_class
                         WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v', 'S')
                        UNION ALL
                        SELECT coalesce(proacl, acldefault('f', proowner)), proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
                        UNION ALL
                        SELECT nspacl, 'the schema' FROM pg_namespace WHERE nspname = current_schema()) AS granted, aclexplode(acl)
                """
            ).map { (try $0.decode(0, as: String.self), try $0.decode(1, as: String.self)) }
            let known = Set((roles + ["owner"]).map { "\(ledger.name)_\($0)" })
            for (grantee, object) in grantees where !known.contains(grantee) {
                Issue.record("\(grantee) has rights to \(object)")
            }
            // Everything belongs to the owner; what runs with its owner's rights looks nowhere else
            // first.
            let strangers = try await connection.query(
                """
                SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')
                   AND relowner <> (current_schema() || '_owner')::regrole
                UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proowner <> (current_schema() || '_owner')::regrole
                UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND prosecdef
                   AND NOT EXISTS (SELECT FROM unnest(proconfig) AS c WHERE c LIKE 'search_path=%pg_temp')
                """
            ).map { try $0.decode(0, as: String.self) }
            #expect(strangers == [])
            await connection.close()
        }
    }

    /// What each role tries that it may not: as an auditor everything that changes, as an appender
    /// everything that reads or forges.
    @Test func whatTheyTryInVain() async throws {
        try await TestLedger.with { ledger in
            try await ledger.queue("a")
            let admin = try await ledger.connect()
            let tables = try await admin.query(
                "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
            ).map { try $0.decode(0, as: String.self) }
            #expect(tables.count > 15)
            func refused(_ role: String, _ sql: String) async throws {
                let connection = try await ledger.connect()
                try await connection.execute(script: "SET ROLE \"\(ledger.name)_\(role)\"")
                let error = await #expect(throws: PostgresError.self, "\(role): \(sql)") {
                    try await connection.query(sql)
                }
                #expect(error?.sqlState == .insufficientPrivilege, "\(role): \(sql): \(String(describing: error))")
                await connection.close()
            }
            for table in tables {
                let column: String = try await admin.query(
                    "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' UNION ALL SELECT '' LIMIT 1",
                    table
                ).only().decode(0)
                try await refused("auditor", "DELETE FROM \(table)")
                try await refused("auditor", "TRUNCATE \(table)")
                try await refused("auditor", "INSERT INTO \(table) DEFAULT VALUES")
                try await refused("auditor", "ALTER TABLE \(table) ADD COLUMN more text")
                try await refused("auditor", "DROP TABLE \(table)")
                if !column.isEmpty {
                    try await refused("auditor", "UPDATE \(table) SET \(column) = null")
                    try await refused("appender", "SELECT \(column) FROM \(table)")
                }
                try await refused("appender", "SELECT count(*) FROM \(table)")
                try await refused("appender", "INSERT INTO \(table) DEFAULT VALUES")
                try await refused("appender", "COPY \(table) TO STDOUT")
            }
            for sql in [
                "CREATE TABLE mine ()", "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
                "SELECT hand_over()",
                "SELECT begin_epoch()",
                "SELECT append_event('b', 'queued', '{\"name\":\"x\"}')", "SELECT take_lease('relay', 'me', '1 s')",
                "SELECT hash FROM tokens",
                "SELECT stop_seal('no')", "SELECT advance_checkpoint('relay', 0, 1)", "SELECT import_events('{}')",
                "ALTER TABLE events DISABLE TRIGGER ALL",
                "SELECT note_refusals('{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}')",
                "SELECT skip_event('batch_jobs', 1, 'x', 'y')", "SELECT forget_subscription('x')",
            ] { try await refused("auditor", sql) }
            for sql in [
                "SELECT history('a')", "SELECT head()", "SELECT position_at(now())", "SELECT await_events(0, '1 s')",
                "SELECT import_events('{}')",
                "SELECT begin_import(gen_random_uuid(), 1)",
                "SELECT append_one('b', 'queued', '{}', '{}', null, null, null)",
                "SELECT write_events('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', null, '{}', '{}', '{}')",
                "SELECT begin_epoch()", "SELECT token_name('x')",
                "SELECT scopes_of_token('x', '')",
                "INSERT INTO events (position, event_id, stream_id, version, type, data, recorded_at) VALUES (2, gen_random_uuid(), 'b', 1, 'queued', '{}', '2020-01-01')",
                "CREATE TABLE mine ()",
            ] { try await refused("appender", sql) }
            // A table of their own, which stands before the ledger's, changes nothing for a
            // function of the ledger; nor does their search path.
            let appender = try await ledger.connect()
            try await appender.execute(
                script: """
                    SET ROLE "\(ledger.name)_appender";
                    CREATE TEMPORARY TABLE events (LIKE pg_class);
                    SET search_path = pg_temp, "\(ledger.name)";
                    SET jobledger.appending = 'on'; SET timezone = 'Pacific/Kiritimati'
                    """)
            let before = try await admin.query("SELECT clock_timestamp()").only().decode(0, as: PostgresTimestamp.self)
            try await appender.query(
                "SELECT append_event('b', 'queued', '{\"name\":\"x\"}', '{\"recorded_at\":\"2020-01-01\",\"position\":99}', occurred_at => '2020-01-01')"
            )
            let row = try await admin.query("SELECT position, version, recorded_at FROM events WHERE stream_id = 'b'")
                .only()
            #expect(try row.decode(0, as: Position.self) == 2 && row.decode(1, as: Int32.self) == 1)
            #expect(try row.decode(2, as: PostgresTimestamp.self).microseconds >= before.microseconds)
            // Another's event, known by its id: the answer needs its whole content, and gives a
            // place.
            let id: EventID = try await admin.query("SELECT event_id FROM events WHERE stream_id = 'a'").only().decode(
                0)
            let error = await #expect(throws: PostgresError.self) {
                try await appender.query(
                    "SELECT append_event('a', 'queued', '{\"name\":\"guess\"}', event_id => $1)", id)
            }
            #expect(
                error?.description.contains("event_id_conflict") == true || error?.sqlState == SQLState("JL005"),
                "\(String(describing: error))")
            // Nor do the statistics tell.
            #expect(try await appender.query("SELECT FROM pg_stats WHERE schemaname = $1", ledger.name.text).isEmpty)
            // Nobody takes another's lease, or moves another's checkpoint.
            for (role, lease) in [
                ("relay", "sealer"), ("relay", "projection:x"), ("sealer", "relay"), ("projector", "relay"),
            ] {
                try await refused(role, "SELECT take_lease('\(lease)', 'thief', '1 h')")
            }
            try await admin.execute(script: "INSERT INTO checkpoints (reader) VALUES ('other')")
            let relay = try await ledger.connect()
            try await relay.execute(script: "SET ROLE \"\(ledger.name)_relay\"")
            try await relay.query("UPDATE checkpoints SET position = 1 WHERE reader = 'other'")
            #expect(
                try await admin.query("SELECT position FROM checkpoints WHERE reader = 'other'").only().decode(
                    0, as: Position.self) == 0)
            for connection in [relay, appender, admin] { await connection.close() }
        }
    }
}
