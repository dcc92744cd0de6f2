import EventStore
import LedgerCore
import Postgres

/// A definition at work on the tables of one schema: the same SQL for the live projection, a rebuild, a verification and a case.
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

    /// Where a session makes tables beside those in use, for one transaction. No two sessions share a name, or they would wait for each other;
    /// and it is no ledger's name, for those have no hyphen. With `_old`, which a swap appends, it fits Postgres's 63 bytes: the ledger
    /// has at most 50, the process 7.
    static func schemaBeside(_ ledger: LedgerName, process: Int32) -> String { "\(ledger)-\(process)" }

    /// Unqualified names in a definition's SQL mean its own tables first and then the ledger's, for one transaction.
    private var searchPath: String { "SET LOCAL search_path = \"\(schema)\", \"\(ledger.text)\";\n" }
    private var back: String { "\n;SET LOCAL search_path = \"\(ledger.text)\";\n" }

    /// Makes the tables, empty.
    func createTables(on connection: PostgresConnection) async throws {
        try await connection.execute(script: searchPath + definition.schemaSQL + back)
    }

    /// For each sort and each hash table of a fold: a window is grouped in memory, not on disk.
    private static let memory = "32MB"

    /// Folds the events after one position up to another, in the caller's transaction.
    func apply(after: Position, upTo: Position, on connection: PostgresConnection) async throws {
        let types = definition.consumes.map(\.rawValue).sorted().joined(separator: ",")
        try await connection.execute(
            script: """
                SET LOCAL jobledger.window_after = '\(after)';
                SET LOCAL jobledger.window_upto = '\(upTo)';
                SET LOCAL jobledger.window_types = '\(types)';
                SET LOCAL work_mem = '\(Self.memory)';

                """ + searchPath + definition.applySQL + back)
    }

    /// Lets the ledger's readers see the tables.
    func grantToReaders(on connection: PostgresConnection) async throws {
        for table in definition.tables {
            try await connection.execute(script: "GRANT SELECT ON \"\(schema)\".\"\(table)\" TO \"\(ledger.text)_reader\"")
        }
    }

    /// Fresh tables were never counted; without this the planner takes them for empty, whatever has been folded into them.
    func analyse(on connection: PostgresConnection) async throws {
        for table in definition.tables { try await connection.execute(script: "ANALYZE \"\(schema)\".\"\(table)\"") }
    }
}

/// When to refresh statistics during a long fold: after its first window, and whenever ten times as much has been folded since.
struct AnalysisSchedule {
    private var next: Int64 = 1

    mutating func isDue(after folded: Int64) -> Bool {
        guard folded >= next else { return false }
        next = folded * 10
        return true
    }
}
