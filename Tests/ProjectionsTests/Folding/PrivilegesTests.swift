import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// The table in docs/security.md lists exactly the rights that the roles of a ledger have: for
/// every relation, function and role.
struct PrivilegesTests {
    private static let page = Repository.root.appending(path: "docs/security.md")

    private static let privileges = [
        "SELECT": "read", "INSERT": "add", "UPDATE": "change", "DELETE": "remove", "TRUNCATE": "truncate",
        "REFERENCES": "refer", "TRIGGER": "trigger",
    ]

    /// The rights in the page, each as `ROLE may WORD OBJECT`.
    private static func documented() throws -> (roles: [String], rights: Set<String>, ownersFunctions: Set<String>) {
        let text = try String(contentsOf: page, encoding: .utf8)
        let lines = text.split(separator: "\n").map(String.init)
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
        let paragraphs = text.split(separator: "\n\n")
        let owners = try #require(paragraphs.first { $0.hasPrefix("Only the owner runs: ") })
        return (roles, rights, Set(owners.matches(of: /`([a-z_0-9]+)\(\)`/).map { String($0.1) }))
    }

    @Test func thePageListsTheRightsOfTheRoles() async throws {
        let (roles, documented, ownersFunctions) = try Self.documented()
        try await TestLedger.with { ledger in
            let definitions = try ProjectionDefinition.all()
            try await Self.makeReadModels(of: definitions, in: ledger)
            let connection = try await ledger.connect()
            try await connection.query("SELECT hand_over()")
            var actual: Set<String> = []
            for role in roles {
                actual.formUnion(
                    try await Self.rights(of: role, in: ledger, readModels: definitions.flatMap(\.tables), connection))
                try await Self.expectNoFurtherRights(of: role, in: ledger, connection)
            }
            for right in actual.subtracting(documented).sorted() { Issue.record("not in docs/security.md: \(right)") }
            for right in documented.subtracting(actual).sorted() {
                Issue.record("in docs/security.md, but not granted: \(right)")
            }
            let others = try await connection.query(Self.functions).map { try $0.decode(0, as: String.self) }
                .filter { name in !roles.contains { actual.contains("\($0) may run \(name)()") } }
            #expect(Set(others) == ownersFunctions, "the line \"Only the owner runs\" of docs/security.md")
            await connection.close()
        }
    }

    /// Nobody but the roles has rights, everything belongs to the owner, and functions that run
    /// with the owner's rights have a fixed search path.
    @Test func nobodyElseHasRights() async throws {
        let roles = try Self.documented().roles
        try await TestLedger.with { ledger in
            try await Self.makeReadModels(of: try ProjectionDefinition.all(), in: ledger)
            let connection = try await ledger.connect()
            try await connection.query("SELECT hand_over()")
            let known = Set((roles + ["owner"]).map { "\(ledger.name)_\($0)" })
            for row in try await connection.query(Self.grants) {
                let (grantee, object): (String, String) = (try row.decode(0), try row.decode(1))
                if !known.contains(grantee) { Issue.record("\(grantee) has rights to \(object)") }
            }
            let wrong = try await connection.query(Self.objectsOfOthers).map { try $0.decode(0, as: String.self) }
            #expect(wrong == [])
            await connection.close()
        }
    }

    private static func makeReadModels(of definitions: [ProjectionDefinition], in ledger: TestLedger) async throws {
        try await ledger.queue("a")
        try await ledger.projecting(definitions) {
            for definition in definitions { try await ledger.caughtUp(definition.name) }
        }
    }

    // MARK: The rights of a role

    private static func rights(
        of role: String, in ledger: TestLedger, readModels: [String], _ connection: PostgresConnection
    ) async throws -> Set<String> {
        let name = "\(ledger.name)_\(role)"
        var rights: Set<String> = []
        for (privilege, word) in privileges {
            for row in try await connection.query(relations, name, privilege) {
                let table: String = try row.decode(0)
                rights.insert("\(role) may \(word) \(readModels.contains(table) ? "read models" : table)")
            }
        }
        // Tokens can be read without their hashes.
        for row in try await connection.query(partlyReadable, name) where try row.decode(1, as: Int64.self) > 0 {
            let table: String = try row.decode(0)
            #expect(
                try row.decode(1, as: Int64.self) == row.decode(2, as: Int64.self) - 1,
                "\(role) and the columns of \(table)")
            #expect(try !row.decode(3, as: Bool.self) && !row.decode(4, as: Bool.self), "\(role) and \(table)")
            rights.insert("\(role) may read \(table) without hash")
        }
        for row in try await connection.query(executable, name) {
            rights.insert("\(role) may run \(try row.decode(0, as: String.self))()")
        }
        return rights
    }

    /// A role may use the schema but make nothing in it, and has no attribute that gives it power
    /// over the server.
    private static func expectNoFurtherRights(
        of role: String, in ledger: TestLedger, _ connection: PostgresConnection
    ) async throws {
        let row = try await connection.query(rightsToSchemaAndServer, "\(ledger.name)_\(role)").only()
        #expect(try row.decode(0, as: Bool.self), "\(role) may use the schema")
        #expect(try !row.decode(1, as: Bool.self), "\(role) may make objects in the schema")
        #expect(try !row.decode(2, as: Bool.self), "\(role) has an attribute with power over the server")
    }

    private static let relations = """
        SELECT relname FROM pg_class
         WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f')
           AND (has_table_privilege($1, oid, $2) OR $2 = 'UPDATE' AND has_any_column_privilege($1, oid, $2))
        """

    /// For each table that the role $1 cannot read as a whole: how many columns it can read, and of
    /// how many; whether it can read the hash; whether it can write any column.
    private static let partlyReadable = """
        SELECT relname, count(*) FILTER (WHERE has_column_privilege($1, attrelid, attnum, 'SELECT')), count(*),
               bool_or(has_column_privilege($1, attrelid, attnum, 'SELECT') AND attname = 'hash'),
               bool_or(has_column_privilege($1, attrelid, attnum, 'INSERT')
                       OR has_column_privilege($1, attrelid, attnum, 'UPDATE'))
          FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
         WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
           AND NOT has_table_privilege($1, attrelid, 'SELECT')
         GROUP BY relname
        """

    private static let functions =
        "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"

    private static let executable = functions + " AND has_function_privilege($1, oid, 'EXECUTE')"

    private static let rightsToSchemaAndServer = """
        SELECT has_schema_privilege($1, current_schema(), 'USAGE'),
               has_schema_privilege($1, current_schema(), 'CREATE'),
               rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication
          FROM pg_roles WHERE rolname = $1
        """

    /// Who has been granted rights, and to which object.
    private static let grants = """
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END AS grantee, object
          FROM (SELECT coalesce(relacl, acldefault('r', relowner)) AS acl, relname::text AS object FROM pg_class
                 WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v', 'S')
                UNION ALL
                SELECT coalesce(proacl, acldefault('f', proowner)), proname FROM pg_proc
                 WHERE pronamespace = current_schema()::regnamespace
                UNION ALL
                SELECT nspacl, 'the schema' FROM pg_namespace WHERE nspname = current_schema()) AS granted,
               aclexplode(acl)
        """

    /// Relations and functions that are not the owner's, and functions with the owner's rights
    /// whose search path is not fixed.
    private static let objectsOfOthers = """
        SELECT relname::text FROM pg_class
         WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')
           AND relowner <> (current_schema() || '_owner')::regrole
        UNION ALL
        SELECT proname::text FROM pg_proc
         WHERE pronamespace = current_schema()::regnamespace AND proowner <> (current_schema() || '_owner')::regrole
        UNION ALL
        SELECT proname::text FROM pg_proc
         WHERE pronamespace = current_schema()::regnamespace AND prosecdef
           AND NOT EXISTS (SELECT FROM unnest(proconfig) AS c WHERE c LIKE 'search_path=%pg_temp')
        """
}
