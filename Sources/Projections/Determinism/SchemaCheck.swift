import LedgerCore
import Postgres

/// Checks what `schema.sql` made: whether the tables can be compared and swapped, and whether rows
/// can come from anywhere but `apply.sql`.
struct SchemaCheck {
    private let definition: ProjectionDefinition
    private let text: SQLText
    private(set) var diagnostics: [ProjectionDiagnostic] = []

    init(_ definition: ProjectionDefinition, _ text: SQLText) {
        self.definition = definition
        self.text = text
    }

    /// - Parameter schema: the schema in which `schema.sql` was run.
    mutating func check(_ schema: String, on connection: PostgresConnection) async throws {
        try await checkRelations(in: schema, on: connection)
        try await checkReferences(in: schema, on: connection)
        for row in try await connection.query(Self.functions, "\"\(schema)\"") {
            let name: String = try row.decode(0)
            report(
                name, "the function \(name) can do anything unseen by the check",
                "Write its expression into apply.sql.")
        }
    }

    /// Checks that the row of a stream can be found.
    mutating func checkRows(in schema: String, on connection: PostgresConnection) async throws {
        for (category, shown) in definition.rows.sorted(by: { $0.key.text < $1.key.text }) {
            try await connection.execute(script: "SAVEPOINT before_rows")
            do {
                let rows = try await StreamRows.of(shown, of: category, in: schema, on: connection)
                try await connection.query(rows.row, "")
            } catch {
                let what = "rows/\(category): \(error)"
                guard !(error is CancellationError), (error as? PostgresError)?.isConnectionFailure != true else {
                    throw error
                }
                diagnostics.append(
                    ProjectionDiagnostic(
                        place: "projection.json", what: what, instead: "Name a table with a row for each stream."))
            }
            try await connection.execute(script: "ROLLBACK TO before_rows; RELEASE before_rows")
        }
    }

    private mutating func report(_ name: String, _ what: String, _ instead: String) {
        diagnostics.append(ProjectionDiagnostic(place: place(of: name), what: what, instead: instead))
    }

    private func place(of name: String) -> String { text.place(at: text.firstPlace(of: name)) }

    private mutating func checkRelations(in schema: String, on connection: PostgresConnection) async throws {
        var made: Set<ExactText> = []
        for row in try await connection.query(Self.relations, "\"\(schema)\"") {
            let (name, kind): (String, String) = (try row.decode("name"), try row.decode("kind"))
            switch kind {
            case "r", "p":
                made.insert(ExactText(name))
                try checkTable(name, row)
                let hasRows = "SELECT EXISTS (SELECT FROM \"\(schema)\".\"\(name)\")"
                if try await connection.query(hasRows).only().decode(0) {
                    report(
                        name, "schema.sql puts rows into \(name)", "Rows come from events: insert them in apply.sql.")
                }
            case "S" where try row.decode("is_part"):
                break  // A column's own sequence matters only if apply.sql leaves the column to its default.
            case "S":
                diagnostics.append(.ofSequence("the sequence \(name)", at: place(of: name)))
            default:
                report(
                    name, "\(name) is not a table",
                    "Only tables are rebuilt and swapped: make views of your own beside the projection.")
            }
        }
        for table in definition.tables where !made.contains(ExactText(table)) {
            diagnostics.append(
                ProjectionDiagnostic(
                    place: "projection.json", what: "schema.sql makes no table \(table)",
                    instead: "Make it, or remove it from \"tables\"."))
        }
    }

    private mutating func checkTable(_ name: String, _ row: PostgresRow) throws {
        if !definition.tables.contains(name) {
            report(
                name, "the table \(name) is not among the \"tables\" of projection.json",
                "Name it there. Otherwise it is neither compared nor swapped.")
        }
        if try !row.decode("has_key") {
            report(
                name, "the table \(name) has no primary key: its rows have no order, so nothing can be compared",
                "Give it one.")
        }
        if try row.decode("persistence", as: String.self) != "p" {
            report(
                name, "the table \(name) does not last: a crash empties it, but not its checkpoint",
                "Write CREATE TABLE.")
        }
        if let trigger = try row.decode("trigger", as: String?.self) {
            report(trigger, "the trigger \(trigger) changes rows unseen by the check", "Do what it does in apply.sql.")
        }
        if let rule = try row.decode("rule", as: String?.self) {
            report(rule, "the rule \(rule) changes statements unseen by the check", "Do what it does in apply.sql.")
        }
    }

    private mutating func checkReferences(in schema: String, on connection: PostgresConnection) async throws {
        for row in try await connection.query(Self.references, "\"\(schema)\"") {
            let (name, table): (String, String) = (try row.decode("name"), try row.decode("table"))
            let other: String = try row.decode("other")
            if try row.decode("is_outside") {
                report(
                    other, "\(table) refers to \(other), a table of another",
                    "Leave the foreign key out: each projection is folded and rebuilt independently.")
                continue
            }
            // A name that Postgres gave stands nowhere in the text.
            let shown = text.firstPlace(of: name) == nil ? table : name
            if definition.key == .stream {
                report(
                    shown,
                    """
                    the foreign key \(name) refers to rows of \(other), but \"key\": \"stream_id\" says that streams \
                    can be folded apart: the row of another stream may not be there yet
                    """,
                    "Write \"key\": \"log\" in projection.json, or leave the foreign key out.")
            }
            if try row.decode("is_deferrable") {
                report(
                    shown,
                    """
                    the foreign key \(name) may be checked at the end of the transaction: nobody could say which event \
                    breaks it, and a swap could not move the table
                    """,
                    "Leave DEFERRABLE out.")
            }
            if try row.decode("sets_default") {
                report(
                    shown, "the foreign key \(name) sets a column to its default unseen by the check",
                    "Write CASCADE or SET NULL, or do it in apply.sql.")
            }
        }
    }

    private static let relations = """
        SELECT relname::text AS name, relkind::text AS kind, relpersistence::text AS persistence,
               EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary) AS has_key,
               EXISTS (SELECT FROM pg_depend
                        WHERE objid = pg_class.oid AND classid = 'pg_class'::regclass
                          AND deptype IN ('a', 'i')) AS is_part,
               (SELECT tgname::text FROM pg_trigger
                 WHERE tgrelid = pg_class.oid AND NOT tgisinternal LIMIT 1) AS trigger,
               (SELECT rulename::text FROM pg_rewrite
                 WHERE ev_class = pg_class.oid AND relkind IN ('r', 'p') LIMIT 1) AS rule
          FROM pg_class
         WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
         ORDER BY pg_class.oid
        """

    private static let references = """
        SELECT conname::text AS name, referring.relname::text AS table, other.relname::text AS other,
               other.relnamespace <> connamespace AS is_outside, condeferrable AS is_deferrable,
               'd' IN (confdeltype, confupdtype) AS sets_default
          FROM pg_constraint
          JOIN pg_class AS referring ON referring.oid = conrelid
          JOIN pg_class AS other ON other.oid = confrelid
         WHERE connamespace = $1::regnamespace AND contype = 'f'
         ORDER BY referring.oid, conname
        """

    private static let functions =
        "SELECT proname::text FROM pg_proc WHERE pronamespace = $1::regnamespace ORDER BY oid"
}
