package import Categories
import EventStore
import LedgerCore
import Postgres

/// Looks for reasons why the same events might not give the same rows again. It first searches the
/// parse trees of the definition's SQL. If it finds nothing there, it folds the cases and a random
/// history in several ways that must give the same rows.
package struct ProjectionCheck: Sendable {
    package struct Outcome: Sendable {
        package let projection: String
        package let diagnostics: [ProjectionDiagnostic]
        /// The number of folds that were compared.
        package let folds: Int
    }

    private let definition: ProjectionDefinition
    private let categories: [CategoryDefinition]
    private let schemaText: SQLText
    private let applyText: SQLText

    /// - Parameter categories: those that events may have; the built-in ones unless given.
    package init(_ definition: ProjectionDefinition, categories: [CategoryDefinition]? = nil) throws {
        self.definition = definition
        self.categories = try categories ?? CategoryDefinition.all()
        schemaText = SQLText("schema.sql", definition.schemaSQL)
        applyText =
            definition.preparation.map { SQLText("apply.sql", pieces: $0.pieces) }
            ?? SQLText("apply.sql", definition.applySQL)
    }

    package func run(url: String) async throws -> Outcome {
        try await ScratchLedger.with(url: url, categories: categories) { ledger in
            var diagnostics = consumed
            diagnostics += try await ledger.rolledBack { try await read(ledger) }
            var folds = 0
            if diagnostics.isEmpty {
                let trials = DeterminismTrials(definition, ledger)
                var verdicts: [DeterminismTrials.Verdict] = []
                for (file, text) in definition.cases {
                    verdicts.append(try await trials.run("cases/\(file)", case: text))
                }
                if definition.consumes.includes(.job) { verdicts.append(try await trials.runRandomHistory()) }
                diagnostics = verdicts.flatMap(\.diagnostics)
                folds = verdicts.reduce(0) { $0 + $1.folds }
            }
            return Outcome(projection: definition.name, diagnostics: diagnostics, folds: folds)
        }
    }

    // MARK: Reading

    /// What is wrong with the events that the definition consumes.
    private var consumed: [ProjectionDiagnostic] {
        var found = definition.consumes.unknown(among: categories).map {
            ProjectionDiagnostic(
                place: "projection.json", what: $0,
                instead: "Correct the name, or give the folder of the category with --categories.")
        }
        if !definition.consumes.includes(.job), definition.cases.isEmpty {
            found.append(
                ProjectionDiagnostic(
                    place: "cases", what: "there is no history to fold: no case, and random histories are of jobs",
                    instead: "Write a case: see docs/projections.md."))
        }
        return found
    }

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
        var schemaCheck = SchemaCheck(definition, schemaText)
        try await schemaCheck.check(schema, on: connection)
        if schemaCheck.diagnostics.isEmpty { try await schemaCheck.checkRows(in: schema, on: connection) }
        var diagnostics = schemaCheck.diagnostics
        let catalog = try await SQLCatalog(ofTablesIn: schema, on: connection)

        // Postgres parses the body of an SQL function and resolves every name, but runs nothing.
        let head = "CREATE FUNCTION \"\(schema)\".\"apply.sql\"() RETURNS void LANGUAGE sql BEGIN ATOMIC\n"
        try await connection.execute(
            script: "SET LOCAL search_path = \"\(schema)\", \"\(ledger.name)\"; SAVEPOINT before_apply")
        let tree: String
        do {
            // Sent as one statement, so that Postgres refuses a text that ends the body early.
            try await connection.query(head + definition.applySQL + "\n;END")
            tree = try await connection.query(
                Self.treeOfApply, "\"\(schema)\""
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
        for row in try await connection.query(Self.checkConstraints, "\"\(schema)\"") {
            let name: String = try row.decode(0)
            var check = DeterminismCheck(catalog, schemaText, at: schemaText.place(at: schemaText.firstPlace(of: name)))
            check.check(try NodeTree(parsing: try row.decode(1)))
            diagnostics += check.diagnostics
        }
        return diagnostics.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    private static let treeOfApply =
        "SELECT prosqlbody::text FROM pg_proc WHERE proname = 'apply.sql' AND pronamespace = $1::regnamespace"

    private static let checkConstraints = """
        SELECT conname::text, conbin::text FROM pg_constraint
         WHERE connamespace = $1::regnamespace AND contype = 'c'
        """

    /// Why Postgres could not parse `apply.sql`.
    private static func ofRefusal(_ error: PostgresError, at place: String) -> ProjectionDiagnostic {
        if error.sqlState == .undefinedTable {
            return ProjectionDiagnostic(
                place: place, what: "\(error.message), for a projection sees new_events and its own tables only",
                instead: "Fold what is needed of other tables into a table of this projection.")
        } else if error.sqlState == .featureNotSupported {
            return ProjectionDiagnostic(
                place: place, what: "it has a statement that cannot be looked into (\(error.message))",
                instead: "Write apply.sql with SELECT, INSERT, UPDATE, DELETE and MERGE alone.")
        }
        return ProjectionDiagnostic(
            place: place, what: error.message, instead: error.hint ?? "Postgres must be able to run it.")
    }

    /// Checks the defaults of the columns that some statement leaves to them.
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
}
