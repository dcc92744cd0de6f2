import EventStore
import Foundation
import LedgerCore
import Postgres

/// Runs a definition's golden histories: given these events, expect these rows.
///
/// A case is `{"about": "…", "events": [{"job", "type", "data"?, "metadata"?, "occurred_at"?}], "expect": {"TABLE": [row, …]}}`.
/// The events go through the ledger's own append, in a scratch ledger that is rolled back, so a history that could not happen is
/// an error; they are folded in windows of 1, 2, 3 and all events, and each way must give exactly the expected rows.
public struct Cases: Sendable {
    public struct Outcome: Sendable {
        public let projection: String
        public let file: String
        /// What went wrong, one line a finding; empty where the case holds.
        public let problems: [String]
    }

    private let definitions: [ProjectionDefinition]
    private let scratch: LedgerName

    public init(_ definitions: [ProjectionDefinition]) {
        self.definitions = definitions
        scratch = LedgerName("cases_" + UUID.version7().text.replacing("-", with: ""))!
    }

    public func run(url: String) async throws -> [Outcome] {
        let configuration = EventStore.configuration(url: url, ledger: scratch, applicationName: "jobledger projections test")
        let connection = try await PostgresConnection.connect(configuration, patience: .seconds(10))
        let outcomes = try await connection.discardedTransaction { connection in
            try await connection.execute(script: "CREATE SCHEMA \"\(scratch.text)\"; SET LOCAL search_path = \"\(scratch.text)\"")
            for file in try MigrationFile.embedded() {
                try await connection.execute(script: file.up + "\n;SET LOCAL search_path = \"\(scratch.text)\"")
            }
            var outcomes: [Outcome] = []
            for definition in definitions {
                for (file, text) in definition.cases {
                    let problems = try await run(text, of: definition, on: connection)
                    outcomes.append(Outcome(projection: definition.name, file: file, problems: problems))
                }
            }
            return outcomes
        }
        await connection.close()
        return outcomes
    }

    private func run(_ text: String, of definition: ProjectionDefinition, on connection: PostgresConnection) async throws
        -> [String]
    {
        try await connection.execute(script: "SAVEPOINT before_case")
        var problems: [String] = []
        do {
            try await append(text, on: connection)
            let head: Position = try await connection.query("SELECT head()").only().decode(0)
            for window in Set([1, 2, 3, max(head, 1)]).sorted() {
                problems += try await fold(text, window, head, of: definition, on: connection).map {
                    "window of \(window): \($0)"
                }
            }
        } catch let error as PostgresError where error.kind == .server {
            problems.append(error.description)
        }
        try await connection.execute(script: "ROLLBACK TO before_case")
        return problems
    }

    private func append(_ text: String, on connection: PostgresConnection) async throws {
        // json, not jsonb: what the case says is appended to the letter.
        try await connection.query(
            """
            SELECT append_event(event ->> 'job', event ->> 'type', coalesce(event -> 'data', '{}'), coalesce(event -> 'metadata', '{}'),
                                occurred_at => (event ->> 'occurred_at')::timestamptz)
              FROM json_array_elements($1::json -> 'events') WITH ORDINALITY AS given (event, ordinal)
             ORDER BY ordinal
            """, text)
    }

    private func fold(
        _ text: String, _ window: Position, _ head: Position, of definition: ProjectionDefinition,
        on connection: PostgresConnection
    ) async throws -> [String] {
        let (actual, expected) = (scratch.text + "_a", scratch.text + "_e")
        try await connection.execute(script: "SAVEPOINT before_fold; CREATE SCHEMA \"\(actual)\"; CREATE SCHEMA \"\(expected)\"")
        let fold = Fold(definition, ledger: scratch, schema: actual)
        try await fold.createTables(on: connection)
        try await Fold(definition, ledger: scratch, schema: expected).createTables(on: connection)
        for start in stride(from: 0, to: head, by: Int(window)) {
            try await fold.apply(after: start, upTo: min(head, start + window), on: connection)
        }
        var problems: [String] = []
        for table in definition.tables {
            let target = try await TableShape.of(table, in: expected, on: connection)
            try await connection.query(
                """
                INSERT INTO \(target.qualified)
                SELECT * FROM jsonb_populate_recordset(null::\(target.qualified), coalesce($1::jsonb -> 'expect' -> $2, '[]'))
                """, text, table)
            let differences = try await RowDifference.between(
                live: try await .of(table, in: actual, on: connection), expected: target, table: table, limit: 10, on: connection)
            problems += differences.map(Self.describe)
        }
        try await connection.execute(script: "ROLLBACK TO before_fold")
        return problems
    }

    private static func describe(_ difference: RowDifference) -> String {
        switch (difference.live, difference.expected) {
        case (nil, _): "\(difference.table) \(difference.key): the row is missing"
        case (let live?, nil): "\(difference.table) \(difference.key): unexpected row \(live)"
        case (let live?, let expected?):
            "\(difference.table) \(difference.key): \(difference.columns.joined(separator: ", ")) differ\n    expected \(expected)\n    got      \(live)"
        }
    }
}
