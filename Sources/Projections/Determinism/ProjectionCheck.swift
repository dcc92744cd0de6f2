import EventStore
import LedgerCore
import Postgres

/// Looks for reasons why a definition would not give the same rows again: first in what Postgres
/// understands its SQL to mean, and where that shows nothing, by folding its cases, and a random
/// history, in ways that must not matter.
package struct ProjectionCheck: Sendable {
    package struct Outcome: Sendable {
        package let projection: String
        package let diagnostics: [ProjectionDiagnostic]
        /// In how many ways histories were folded and compared.
        package let folds: Int
    }

    private let definition: ProjectionDefinition
    private let schemaText: SQLText
    private let applyText: SQLText

    package init(_ definition: ProjectionDefinition) {
        self.definition = definition
        schemaText = SQLText("schema.sql", definition.schemaSQL)
        applyText = SQLText("apply.sql", definition.applySQL)
    }

    package func run(url: String) async throws -> Outcome {
        try await ScratchLedger.with(url: url) { ledger in
            var diagnostics = try await ledger.undone { try await read(ledger) }
            var folds = 0
            if diagnostics.isEmpty {
                let trials = DeterminismTrials(definition, ledger)
                var verdicts: [DeterminismTrials.Verdict] = []
                for (file, text) in definition.cases {
                    verdicts.append(try await trials.run("cases/\(file)", case: text))
                }
                verdicts.append(try await trials.runRandomHistory())
                diagnostics = verdicts.flatMap(\.diagnostics)
                folds = verdicts.reduce(0) { $0 + $1.folds }
            }
            return Outcome(projection: definition.name, diagnostics: diagnostics, folds: folds)
        }
    }

    // MARK: Reading

    private func read(_ ledger: ScratchLedger) async throws -> [ProjectionDiagnostic] {
        let schema = ledger.schema("c")
        let connection = ledger.connection
        try await connection.execute(script: "CREATE SCHEMA \"\(schema)\"")
        do {
            try await Fold(definition, ledger: ledger.name, schema: schema).createTables(on: connection)
        } catch let error as PostgresError where error.kind == .server {
            return [
                ProjectionDiagnostic(place: "schema.sql", what: "\(error)", instead: "Postgres must be able to run it.")
            ]
        }
        var diagnostics = try await readSchema(schema, on: connection)
        let catalog = try await SQLCatalog(ofTablesIn: schema, on: connection)

        // A function with an SQL body: Postgres parses it, resolves every name, and runs nothing.
        let head = "CREATE FUNCTION \"\(schema)\".\"apply.sql\"() RETURNS void LANGUAGE sql BEGIN ATOMIC\n"
        try await connection.execute(
            script: "SET LOCAL search_path = \"\(schema)\", \"\(ledger.name)\"; SAVEPOINT before_apply")
        let tree: String
        do {
            // As one statement: what ends the body early, and goes on, is refused.
            try await connection.query(head + definition.applySQL + "\n;END")
            tree = try await connection.query(
                "SELECT prosqlbody::text FROM pg_proc WHERE proname = 'apply.sql' AND pronamespace = $1::regnamespace",
                "\"\(schema)\""
            ).only().decode(0)
        } catch let error as PostgresError where error.kind == .server {
            let byte = error.textPosition.map {
                (head + definition.applySQL).prefix($0 - 1).utf8.count - head.utf8.count
            }
            return diagnostics + [Self.ofRefusal(error, at: applyText.place(at: byte))]
        }
        var apply = DeterminismCheck(catalog, applyText, before: head.utf8.count)
        apply.check(try NodeTree(parsing: tree))
        diagnostics += apply.diagnostics
        diagnostics += try defaults(apply.defaulted, catalog)
        for row in try await connection.query(
            "SELECT conname::text, conbin::text FROM pg_constraint WHERE connamespace = $1::regnamespace AND contype = 'c'",
            "\"\(schema)\"")
        {
            let name: String = try row.decode(0)
            var check = DeterminismCheck(catalog, schemaText, at: schemaText.place(at: schemaText.firstPlace(of: name)))
            check.check(try NodeTree(parsing: try row.decode(1)))
            diagnostics += check.diagnostics
        }
        return diagnostics.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    /// Why Postgres could not read `apply.sql`.
    private static func ofRefusal(_ error: PostgresError, at place: String) -> ProjectionDiagnostic {
        if error.sqlState == .undefinedTable {
            return ProjectionDiagnostic(
                place: place, what: "\(error.message), for a projection sees new_events and its own tables only",
                instead: "What is needed of other tables, fold from the events into a table of its own.")
        } else if error.sqlState == .featureNotSupported {
            return ProjectionDiagnostic(
                place: place, what: "it has a statement that cannot be looked into (\(error.message))",
                instead: "Write apply.sql with SELECT, INSERT, UPDATE, DELETE and MERGE alone.")
        }
        return ProjectionDiagnostic(
            place: place, what: error.message, instead: error.hint ?? "Postgres must be able to run it.")
    }

    /// Defaults count where some statement leaves a column to them.
    private func defaults(_ defaulted: [Int: Set<Int>], _ catalog: SQLCatalog) throws -> [ProjectionDiagnostic] {
        var diagnostics: [ProjectionDiagnostic] = []
        for (table, numbers) in defaulted.sorted(by: { $0.key < $1.key }) {
            for number in numbers.sorted() {
                guard let name = catalog.tables[table]?.name, let column = catalog.tables[table]?.columns[number] else {
                    continue
                }
                let place = schemaText.place(at: schemaText.firstPlace(of: column.name, behind: name))
                func left(_ diagnostic: ProjectionDiagnostic) -> ProjectionDiagnostic {
                    ProjectionDiagnostic(
                        place: place,
                        what: "apply.sql leaves \(name).\(column.name) to its default, and \(diagnostic.what)",
                        instead: "Give it a value in apply.sql. " + diagnostic.instead)
                }
                if column.isIdentity { diagnostics.append(left(.ofSequence("an identity column", at: place))) }
                if let preset = column.preset {
                    var check = DeterminismCheck(catalog, schemaText, at: place)
                    check.check(try NodeTree(parsing: preset))
                    diagnostics += check.diagnostics.map(left)
                }
            }
        }
        return diagnostics
    }

    /// What `schema.sql` made, and whether rows can come from anywhere but `apply.sql`.
    private func readSchema(_ schema: String, on connection: PostgresConnection) async throws -> [ProjectionDiagnostic]
    {
        var diagnostics: [ProjectionDiagnostic] = []
        func report(_ name: String, _ what: String, _ instead: String) {
            diagnostics.append(
                ProjectionDiagnostic(
                    place: schemaText.place(at: schemaText.firstPlace(of: name)), what: what, instead: instead))
        }
        let rows = try await connection.query(
            """
            SELECT relname::text AS name, relkind::text AS kind, relpersistence::text AS persistence,
                   EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary) AS has_key,
                   EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND classid = 'pg_class'::regclass AND deptype IN ('a', 'i')) AS is_part,
                   (SELECT tgname::text FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal LIMIT 1) AS trigger,
                   (SELECT rulename::text FROM pg_rewrite WHERE ev_class = pg_class.oid AND relkind IN ('r', 'p') LIMIT 1) AS rule,
                   (SELECT other.relname::text FROM pg_constraint JOIN pg_class AS other ON other.oid = confrelid
                     WHERE conrelid = pg_class.oid AND contype = 'f' AND other.relnamespace <> pg_class.relnamespace LIMIT 1) AS other
              FROM pg_class
             WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
             ORDER BY pg_class.oid
            """, "\"\(schema)\"")
        var made: Set<ExactText> = []
        for row in rows {
            let (name, kind): (String, String) = (try row.decode("name"), try row.decode("kind"))
            switch kind {
            case "r", "p":
                made.insert(ExactText(name))
                if !definition.tables.contains(name) {
                    report(
                        name, "the table \(name) is not among the \"tables\" of projection.json",
                        "Name it there, or it is neither compared nor swapped.")
                }
                if try !row.decode("has_key") {
                    report(
                        name,
                        "the table \(name) has no primary key: its rows have no order, so nothing can be compared",
                        "Give it one.")
                }
                if try row.decode("persistence", as: String.self) != "p" {
                    report(
                        name, "the table \(name) does not last: a crash empties it, and its checkpoint goes on",
                        "Write CREATE TABLE.")
                }
                if let trigger = try row.decode("trigger", as: String?.self) {
                    report(trigger, "the trigger \(trigger) changes rows out of sight", "Do what it does in apply.sql.")
                }
                if let rule = try row.decode("rule", as: String?.self) {
                    report(rule, "the rule \(rule) changes statements out of sight", "Do what it does in apply.sql.")
                }
                if let other = try row.decode("other", as: String?.self) {
                    report(
                        other, "\(name) refers to \(other), a table of another",
                        "Leave the foreign key out: each projection is folded and rebuilt on its own.")
                }
                if try await connection.query("SELECT EXISTS (SELECT FROM \"\(schema)\".\"\(name)\")").only().decode(0)
                {
                    report(
                        name, "schema.sql puts rows into \(name)", "Rows come from events: put them in in apply.sql.")
                }
            case "S" where try row.decode("is_part"):
                break  // a column's own: it counts where apply.sql leaves that column to it
            case "S":
                diagnostics.append(
                    .ofSequence("the sequence \(name)", at: schemaText.place(at: schemaText.firstPlace(of: name))))
            default:
                report(
                    name, "\(name) is no table",
                    "Only tables are rebuilt and swapped: make views of your own beside the projection.")
            }
        }
        for table in definition.tables where !made.contains(ExactText(table)) {
            diagnostics.append(
                ProjectionDiagnostic(
                    place: "projection.json", what: "schema.sql makes no table \(table)",
                    instead: "Make it, or take it out of \"tables\"."))
        }
        for row in try await connection.query(
            "SELECT proname::text FROM pg_proc WHERE pronamespace = $1::regnamespace ORDER BY oid", "\"\(schema)\"")
        {
            let name: String = try row.decode(0)
            report(name, "the function \(name) can do anything out of sight", "Write its expression into apply.sql.")
        }
        return diagnostics
    }
}
