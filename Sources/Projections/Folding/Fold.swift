import EventStore
import LedgerCore
import Postgres

/// Folds events into the tables of one schema. The live projection, rebuilds, verifications and
/// cases all run the same SQL here.
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

    /// The schema in which a session makes tables for one transaction. Each session has its own, so
    /// that sessions do not wait for each other. It is never a ledger's name, which has no hyphen,
    /// and never a rebuild's, which ends in a number alone. The name fits into Postgres's 63 bytes,
    /// also with `_old` behind it: the ledger has at most 50 bytes, the process 7.
    static func schemaBeside(_ ledger: LedgerName, process: Int32) -> String { "\(ledger)-p\(process)" }

    /// Makes unqualified names in a definition's SQL mean its own tables first and then the
    /// ledger's, for one transaction.
    private var searchPath: String { "SET LOCAL search_path = \"\(schema)\", \"\(ledger.text)\";\n" }
    /// Resets the settings that a definition's SQL may have changed and that affect how the next
    /// text is read.
    private var resetSettings: String {
        "\n;SET LOCAL search_path = \"\(ledger.text)\"; SET standard_conforming_strings = on;\n"
    }

    /// Makes the schema for tables that a swap replaces, and that an undo brings back. It always
    /// belongs to the projectors' role, so that each of them can drop it.
    static func createSharedSchema(_ name: String, of ledger: LedgerName, on connection: PostgresConnection)
        async throws
    {
        try await connection.execute(script: "CREATE SCHEMA \"\(name)\" AUTHORIZATION \"\(ledger.text)_projector\"")
    }

    /// Makes the schema for tables that are to be swapped in. A session with more rights than a
    /// projector's stays the owner. Whoever owns a schema or a table can make its users run code,
    /// so a projector that owned it could run code with those rights.
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

    /// Memory for each sort and each hash table of a fold, so that a window is grouped in memory.
    private static let memory = "32MB"

    /// Planner settings of a fold. A window changes few rows of a large table, but the planner
    /// knows neither number. So an index is used wherever there is one, instead of reading a whole
    /// table, and no incremental sort replaces the index that has the wanted order. Later
    /// statements of the transaction, such as a digest, are planned as usual.
    private static let planning =
        "SET LOCAL work_mem = '\(memory)'; SET LOCAL enable_seqscan = off; SET LOCAL enable_incremental_sort = off;\n"
    private static let planningAsUsual =
        "SET LOCAL enable_seqscan = DEFAULT; SET LOCAL enable_incremental_sort = DEFAULT;\n"

    /// Makes the tables, empty.
    func createTables(on connection: PostgresConnection) async throws {
        try await connection.execute(script: searchPath + definition.schemaSQL + resetSettings)
    }

    /// Folds the events after one position up to another, in the caller's transaction. Events that
    /// an operator skipped are left out: the parts between them are folded one by one, since the
    /// result does not depend on windows.
    /// - Parameter leavingOut: called with each skipped position, when everything before it is
    ///   folded.
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

    /// Whether an event can be folded into the tables as they are. The attempt is rolled back. In
    /// the caller's transaction.
    func canFold(_ position: Position, on connection: PostgresConnection) async throws -> Bool {
        try await connection.execute(script: "SAVEPOINT before_trial")
        let isFolded: Bool
        do {
            try await applyAll(after: position - 1, upTo: position, on: connection)
            isFolded = true
        } catch let error as PostgresError where error.isOfFold {
            isFolded = false
        }
        try await connection.execute(script: "ROLLBACK TO before_trial; RELEASE before_trial")
        return isFolded
    }

    private func applyAll(after: Position, upTo: Position, on connection: PostgresConnection) async throws {
        try await connection.execute(
            script: Self.window(of: definition, after: after, upTo: upTo) + Self.planning + searchPath
                + definition.applySQL + resetSettings + Self.planningAsUsual)
    }

    /// Runs `prepare.sql` for the events after one position up to another, in the caller's
    /// transaction. It reads events alone, so it may run before the events in front are folded.
    func prepare(_ preparation: Preparation, after: Position, upTo: Position, on connection: PostgresConnection)
        async throws
    {
        try await connection.execute(
            script: Self.window(of: definition, after: after, upTo: upTo) + Self.planning + searchPath
                + "CREATE TEMPORARY TABLE \(Preparation.table) ON COMMIT DROP AS\n\(preparation.query)" + resetSettings)
    }

    /// Runs `apply.sql` with what ``prepare(_:after:upTo:on:)`` has prepared in the same
    /// transaction. The events in front must be folded.
    func applyPrepared(_ preparation: Preparation, on connection: PostgresConnection) async throws {
        try await connection.execute(
            script: Self.planning + searchPath + preparation.apply + resetSettings + Self.planningAsUsual)
    }

    /// Whether the rows of `prepare.sql` can depend on nothing but events. In the caller's
    /// transaction, which is rolled back.
    func readsEventsAlone(_ preparation: Preparation, on connection: PostgresConnection) async throws -> Bool {
        try await connection.execute(
            script: searchPath + "CREATE TEMPORARY VIEW \(Preparation.table) AS\n\(preparation.query)" + resetSettings)
        return try await connection.query(Self.otherSources).isEmpty
    }

    /// What the view of the prepared rows depends on, but for events: tables, and functions that
    /// may read some.
    private static let otherSources = """
        SELECT FROM pg_depend JOIN pg_rewrite ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
         WHERE ev_class = 'pg_temp.\(Preparation.table)'::regclass
           AND (refclassid <> 'pg_class'::regclass OR refobjid NOT IN (ev_class, 'new_events'::regclass))
        """

    /// Sets which events `new_events` contains, for one transaction.
    static func window(of definition: ProjectionDefinition, after: Position, upTo: Position) -> String {
        """
        SET LOCAL jobledger.window_after = '\(after)';
        SET LOCAL jobledger.window_upto = '\(upTo)';
        \(consumed(by: definition))

        """
    }

    /// Sets which events `consumed_events` contains, for one transaction.
    static func consumed(by definition: ProjectionDefinition) -> String {
        """
        SET LOCAL jobledger.window_types = '\(definition.consumes.jobTypes)';
        SET LOCAL jobledger.window_kinds = '\(definition.consumes.otherKinds)';
        """
    }

    /// Gives the tables to the role that the ledger takes them over from. A projector's tables go
    /// to the projectors' role, and the ledger inspects them when it takes them over. Tables of a
    /// session with the owner's rights go to the owner.
    func handOver(on connection: PostgresConnection) async throws {
        let role = try await Self.isTrusted(ledger, on: connection) ? "owner" : "projector"
        for table in definition.tables {
            try await connection.execute(
                script: "ALTER TABLE \"\(schema)\".\"\(table)\" OWNER TO \"\(ledger.text)_\(role)\"")
        }
    }

    /// Lets the ledger's readers read the tables.
    func grantToReaders(on connection: PostgresConnection) async throws {
        for table in definition.tables {
            try await connection.execute(
                script: "GRANT SELECT ON \"\(schema)\".\"\(table)\" TO \"\(ledger.text)_reader\"")
        }
    }

    /// Drops the indexes that enforce no uniqueness, because rows load faster without them. Those
    /// of foreign keys stay: without them, each row that is deleted in another table would have
    /// Postgres read the whole table for rows that refer to it.
    /// - Returns: their names.
    func dropSecondaryIndexes(on connection: PostgresConnection) async throws -> [String] {
        let indexes = try await secondaryIndexes(on: connection)
        for index in indexes { try await connection.execute(script: index.drop) }
        return indexes.map(\.name)
    }

    /// Makes an index that ``dropSecondaryIndexes(on:)`` dropped.
    func make(_ index: SecondaryIndex, on connection: PostgresConnection) async throws {
        try await connection.execute(script: searchPath + index.make + resetSettings)
    }

    /// The secondary indexes of the definition as Postgres writes them. The tables are made in a
    /// schema of their own for this, and rolled back.
    func definedIndexes(on connection: PostgresConnection) async throws -> [SecondaryIndex] {
        try await connection.discardedTransaction { connection in
            let schema = Self.schemaBeside(ledger, process: await connection.serverProcess)
            let copy = Fold(definition, ledger: ledger, schema: schema)
            try await connection.execute(script: "CREATE SCHEMA \"\(schema)\"")
            try await copy.createTables(on: connection)
            return try await copy.secondaryIndexes(on: connection)
        }
    }

    private static let secondaryIndexes = """
        SELECT index.relname::text, pg_get_indexdef(indexrelid, 0, true),
               format('DROP INDEX %I.%I', $1, index.relname)
          FROM pg_index
          JOIN pg_class AS index ON index.oid = indexrelid
          JOIN pg_class AS indexed ON indexed.oid = indrelid
         WHERE indexed.relnamespace = quote_ident($1)::regnamespace AND indexed.relname = ANY ($2)
           AND NOT indisunique
           AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
           AND NOT EXISTS (SELECT FROM pg_constraint
                            WHERE contype = 'f' AND conrelid = indrelid AND indkey[0] = ANY (conkey))
         ORDER BY index.relname
        """
    private func secondaryIndexes(on connection: PostgresConnection) async throws -> [SecondaryIndex] {
        // pg_get_indexdef does not qualify names in the search path. The statement then makes the
        // index in whichever schema is first in the path.
        try await connection.execute(script: searchPath)
        let indexes = try await connection.query(Self.secondaryIndexes, schema, definition.tables).map {
            SecondaryIndex(name: try $0.decode(0), make: try $0.decode(1), drop: try $0.decode(2))
        }
        try await connection.execute(script: resetSettings)
        return indexes
    }

    /// Collects statistics. Without them the planner takes fresh tables for empty, whatever has
    /// been folded into them.
    /// - Parameter roughly: with a small sample, for tables that are still being filled: the
    ///   planner then needs their size and little else.
    func analyse(roughly: Bool = false, on connection: PostgresConnection) async throws {
        let analysis = definition.tables.map { "ANALYZE \"\(schema)\".\"\($0)\"" }.joined(separator: "; ")
        try await connection.execute(
            script: roughly
                ? "SET default_statistics_target = 10; \(analysis); RESET default_statistics_target" : analysis)
    }
}

/// An index that enforces no uniqueness. Tables are loaded without these indexes.
///
/// A rebuild's record keeps only the names of those still to be made. A statement kept in a table
/// would run with the rights of whoever resumes the rebuild.
struct SecondaryIndex: Sendable {
    let name: String
    /// Names the table without its schema, so that the search path decides.
    let make: String
    let drop: String
}

/// When to refresh statistics during a long fold: after its first window, and again whenever ten
/// times as many events have been folded.
struct AnalysisSchedule {
    private var next: Int64 = 1

    mutating func isDue(after folded: Int64) -> Bool {
        guard folded >= next else { return false }
        next = folded * 10
        return true
    }
}

extension PostgresError {
    /// Whether the fold's SQL failed for the events or tables that it got, and will fail again.
    /// That is not so of errors that pass, nor of a session in which the ledger's schema is not the
    /// current one any more, as behind a pooler that changes sessions.
    var isOfFold: Bool { kind == .server && !isRetriable && sqlState?.category != SQLState.undefinedSchema.category }
}
