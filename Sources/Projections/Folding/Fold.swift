import EventStore
import LedgerCore
import Postgres

/// A definition at work on the tables of one schema: the same SQL for the live projection, a
/// rebuild, a verification and a case.
struct Fold: Sendable {
    let definition: ProjectionDefinition
    let ledger: LedgerName
    /// Where the tables are: the ledger's own schema for the live ones.
    let schema: String

    init(_ definition: ProjectionDefinition, ledger: LedgerName, schema: String? = nil) {
        self.definition = definition
        self.ledger = ledger
        self.schema = schema ?? ledger.text
    }

    /// Where a session makes tables for one transaction. No two sessions share a name, or they
    /// would wait for each other; it is no ledger's name, for those have no hyphen, and no
    /// rebuild's, which is a number. With a `_old` it fits Postgres's 63 bytes: the ledger has at
    /// most 50, the process 7.
    static func schemaBeside(_ ledger: LedgerName, process: Int32) -> String { "\(ledger)-p\(process)" }

    /// Unqualified names in a definition's SQL mean its own tables first and then the ledger's, for
    /// one transaction.
    private var searchPath: String { "SET LOCAL search_path = \"\(schema)\", \"\(ledger.text)\";\n" }
    /// And what a definition may have set does not change how the next text is read.
    private var back: String {
        "\n;SET LOCAL search_path = \"\(ledger.text)\"; SET standard_conforming_strings = on;\n"
    }

    /// Makes the schema of tables that were in use, and may be again. It is the projectors',
    /// whoever makes it, so that any of them can drop it.
    static func createSharedSchema(_ name: String, of ledger: LedgerName, on connection: PostgresConnection)
        async throws
    {
        try await connection.execute(script: "CREATE SCHEMA \"\(name)\" AUTHORIZATION \"\(ledger.text)_projector\"")
    }

    /// Makes the schema of tables that are to come into use. Whoever has more rights than a
    /// projector keeps it: who owns a schema or a table can have whoever uses it run code, and
    /// projectors would have it from one who may do anything.
    static func createSchema(_ name: String, of ledger: LedgerName, on connection: PostgresConnection) async throws {
        guard try await isTrusted(ledger, on: connection) else {
            return try await createSharedSchema(name, of: ledger, on: connection)
        }
        try await connection.execute(
            script: "CREATE SCHEMA \"\(name)\"; GRANT USAGE, CREATE ON SCHEMA \"\(name)\" TO \"\(ledger.text)_owner\"")
    }

    /// Whether the session's user has the rights of the ledger's owner.
    private static func isTrusted(_ ledger: LedgerName, on connection: PostgresConnection) async throws -> Bool {
        try await connection.query("SELECT pg_has_role($1, 'MEMBER')", "\(ledger)_owner").only().decode(0)
    }

    /// For each sort and each hash table of a fold: a window is grouped in memory, not on disk.
    private static let memory = "32MB"

    /// How a fold is planned. A window changes few rows of a large table, and the planner knows
    /// neither how few nor how large: so no table is read whole where an index leads to the rows,
    /// and what is asked for in the order of an index is not put together from another's. What the
    /// transaction does afterwards, such as a digest, is planned as usual.
    private static let planning =
        "SET LOCAL work_mem = '\(memory)'; SET LOCAL enable_seqscan = off; SET LOCAL enable_incremental_sort = off;\n"
    private static let planningAsUsual =
        "SET LOCAL enable_seqscan = DEFAULT; SET LOCAL enable_incremental_sort = DEFAULT;\n"

    /// Makes the tables, empty.
    func createTables(on connection: PostgresConnection) async throws {
        try await connection.execute(script: searchPath + definition.schemaSQL + back)
    }

    /// Folds the events after one position up to another, in the caller's transaction. Those that
    /// an operator has skipped are left out: the window is folded in the parts between them, for
    /// the result does not depend on windows.
    /// - Parameter leavingOut: told of each of them, when everything before it is folded.
    func apply(
        after: Position, upTo: Position, on connection: PostgresConnection,
        leavingOut: (Position) async throws -> Void = { _ in }
    ) async throws {
        var start = after
        for skipped in try await SkippedEvents.positions(of: definition, after: after, upTo: upTo, on: connection) {
            if start < skipped - 1 { try await applyAll(after: start, upTo: skipped - 1, on: connection) }
            try await leavingOut(skipped)
            start = skipped
        }
        if start < upTo { try await applyAll(after: start, upTo: upTo, on: connection) }
    }

    /// Whether an event can be folded into the tables as they are, which they stay. In the caller's
    /// transaction.
    func canFold(_ position: Position, on connection: PostgresConnection) async throws -> Bool {
        try await connection.execute(script: "SAVEPOINT before_trial")
        let isFolded: Bool
        do {
            try await applyAll(after: position - 1, upTo: position, on: connection)
            isFolded = true
        } catch let error as PostgresError where error.kind == .server && !error.isRetriable {
            isFolded = false
        }
        try await connection.execute(script: "ROLLBACK TO before_trial; RELEASE before_trial")
        return isFolded
    }

    private func applyAll(after: Position, upTo: Position, on connection: PostgresConnection) async throws {
        let types = definition.consumes.map(\.rawValue).sorted().joined(separator: ",")
        try await connection.execute(
            script: """
                SET LOCAL jobledger.window_after = '\(after)';
                SET LOCAL jobledger.window_upto = '\(upTo)';
                SET LOCAL jobledger.window_types = '\(types)';

                """ + Self.planning + searchPath + definition.applySQL + back + Self.planningAsUsual)
    }

    /// Makes the tables ready for the ledger to take over. Those of a projector become its role's,
    /// and are looked at when they are taken over; those of whoever has the owner's rights become
    /// the owner's.
    func handOver(on connection: PostgresConnection) async throws {
        let role = try await Self.isTrusted(ledger, on: connection) ? "owner" : "projector"
        for table in definition.tables {
            try await connection.execute(
                script: "ALTER TABLE \"\(schema)\".\"\(table)\" OWNER TO \"\(ledger.text)_\(role)\"")
        }
    }

    /// Lets the ledger's readers see the tables.
    func grantToReaders(on connection: PostgresConnection) async throws {
        for table in definition.tables {
            try await connection.execute(
                script: "GRANT SELECT ON \"\(schema)\".\"\(table)\" TO \"\(ledger.text)_reader\"")
        }
    }

    /// Takes away the indexes that keep nothing unique, and says which: rows are loaded faster
    /// without them.
    func dropSecondaryIndexes(on connection: PostgresConnection) async throws -> [String] {
        let indexes = try await secondaryIndexes(on: connection)
        for index in indexes { try await connection.execute(script: index.drop) }
        return indexes.map(\.name)
    }

    /// Makes such an index.
    func make(_ index: SecondaryIndex, on connection: PostgresConnection) async throws {
        try await connection.execute(script: searchPath + index.make + back)
    }

    /// Those of the definition, as Postgres understands it: made for a moment beside everything
    /// else.
    func definedIndexes(on connection: PostgresConnection) async throws -> [SecondaryIndex] {
        try await connection.discardedTransaction { connection in
            let schema = Self.schemaBeside(ledger, process: await connection.serverProcess)
            let copy = Fold(definition, ledger: ledger, schema: schema)
            try await connection.execute(script: "CREATE SCHEMA \"\(schema)\"")
            try await copy.createTables(on: connection)
            return try await copy.secondaryIndexes(on: connection)
        }
    }

    private func secondaryIndexes(on connection: PostgresConnection) async throws -> [SecondaryIndex] {
        // What is in the path is not qualified, so the statement means the tables of whatever
        // schema is first in it.
        try await connection.execute(script: searchPath)
        let indexes = try await connection.query(
            """
            SELECT index.relname::text, pg_get_indexdef(indexrelid, 0, true), format('DROP INDEX %I.%I', $1, index.relname)
              FROM pg_index
              JOIN pg_class AS index ON index.oid = indexrelid
              JOIN pg_class AS indexed ON indexed.oid = indrelid
             WHERE indexed.relnamespace = quote_ident($1)::regnamespace AND indexed.relname = ANY ($2)
               AND NOT indisunique
               AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
             ORDER BY index.relname
            """, schema, definition.tables
        ).map { SecondaryIndex(name: try $0.decode(0), make: try $0.decode(1), drop: try $0.decode(2)) }
        try await connection.execute(script: back)
        return indexes
    }

    /// Fresh tables were never counted; without this the planner takes them for empty, whatever has
    /// been folded into them.
    /// - Parameter roughly: while they are being filled: how large they are matters, and little
    ///   else.
    func analyse(roughly: Bool = false, on connection: PostgresConnection) async throws {
        let analysis = definition.tables.map { "ANALYZE \"\(schema)\".\"\($0)\"" }.joined(separator: "; ")
        try await connection.execute(
            script: roughly
                ? "SET default_statistics_target = 10; \(analysis); RESET default_statistics_target" : analysis)
    }
}

/// An index that keeps nothing unique, of a table that is loaded without it.
///
/// What a rebuild keeps of those that it has yet to make are the names: a statement that stood in a
/// table would be run with the rights of whoever goes on with the rebuild.
struct SecondaryIndex: Sendable {
    let name: String
    /// Names the table as the search path has it.
    let make: String
    let drop: String
}

/// When to refresh statistics during a long fold: after its first window, and whenever ten times as
/// much has been folded since.
struct AnalysisSchedule {
    private var next: Int64 = 1

    mutating func isDue(after folded: Int64) -> Bool {
        guard folded >= next else { return false }
        next = folded * 10
        return true
    }
}
