package import Categories
import EventStore
import Foundation
import LedgerCore
import Postgres

/// Runs the cases of projections: given these events, expect these rows.
///
/// A case is `{"about": "…", "events": [{"job", "type", "data"?, "metadata"?, "occurred_at"?,
/// "event_id"?, "recorded_at"?}], "expect": {"TABLE": [row, …]}}`. An event with a `recorded_at`
/// needs an `event_id` too. An event of another category than job has `category` and `stream` in
/// place of `job`.
///
/// The events go through the ledger's own append, in a scratch ledger that is rolled back. A
/// history that the ledger would refuse is therefore an error. The events are folded in windows of
/// 1, 2, 3 and all events, and each way must give exactly the expected rows.
package struct Cases: Sendable {
    package struct Outcome: Sendable {
        package let projection: String
        package let file: String
        /// What went wrong, one line for each problem; empty if the case holds.
        package let problems: [String]
    }

    private let definitions: [ProjectionDefinition]
    private let categories: [CategoryDefinition]

    /// - Parameter categories: those that events may have; the built-in ones unless given.
    package init(_ definitions: [ProjectionDefinition], categories: [CategoryDefinition]? = nil) throws {
        self.definitions = definitions
        self.categories = try categories ?? CategoryDefinition.all()
    }

    package func run(url: String) async throws -> [Outcome] {
        try await ScratchLedger.with(url: url, categories: categories) { ledger in
            var outcomes: [Outcome] = []
            for definition in definitions {
                for (file, text) in definition.cases {
                    let problems = try await ledger.rolledBack { try await run(text, of: definition, in: ledger) }
                    outcomes.append(Outcome(projection: definition.name, file: file, problems: problems))
                }
            }
            return outcomes
        }
    }

    private func run(_ text: String, of definition: ProjectionDefinition, in ledger: ScratchLedger) async throws
        -> [String]
    {
        let unknown = definition.consumes.unknown(among: categories)
        if let mistake = unknown.first ?? Self.mistake(in: text, of: definition) { return [mistake] }
        do {
            try await ledger.append(text, category: definition.consumes.only)
            let head = try await ledger.head()
            // Most mistakes show in windows of every size: each is reported once.
            var problems: [(text: String, windows: [Position])] = []
            for window in Set([1, 2, 3, max(head, 1)]).sorted() {
                for problem in try await ledger.rolledBack({
                    try await fold(text, window, head, of: definition, in: ledger)
                }) {
                    if let index = problems.firstIndex(where: { $0.text == problem }) {
                        problems[index].windows.append(window)
                    } else {
                        problems.append((problem, [window]))
                    }
                }
            }
            return problems.map { problem in
                let windows = problem.windows.map(String.init).joined(separator: ", ")
                return "\(problem.windows.count == 1 ? "window" : "windows") of \(windows): \(problem.text)"
            }
        } catch let error as PostgresError where error.kind == .server {
            return [error.description]
        }
    }

    private func fold(
        _ text: String, _ window: Position, _ head: Position, of definition: ProjectionDefinition,
        in ledger: ScratchLedger
    ) async throws -> [String] {
        let (actual, expected, connection) = (ledger.schema("a"), ledger.schema("e"), ledger.connection)
        try await connection.execute(script: "CREATE SCHEMA \"\(actual)\"; CREATE SCHEMA \"\(expected)\"")
        let fold = Fold(definition, ledger: ledger.name, schema: actual)
        try await fold.createTables(on: connection)
        try await Fold(definition, ledger: ledger.name, schema: expected).createTables(on: connection)
        for start in stride(from: 0, to: head, by: Int(window)) {
            try await fold.apply(after: start, upTo: min(head, start + window), on: connection)
        }
        var problems: [String] = []
        for table in definition.tables {
            let target = try await TableShape.of(table, in: expected, on: connection)
            try await connection.query(Self.fill(target), text, table)
            let differences = try await RowDifference.between(
                live: try await .of(table, in: actual, on: connection), expected: target, table: table, limit: 10,
                on: connection)
            problems += differences.map(Self.describe)
        }
        return problems
    }

    /// Fills a table with the rows that the case $1 expects of the table $2.
    private static func fill(_ target: TableShape) -> String {
        """
        INSERT INTO \(target.qualified)
        SELECT *
          FROM jsonb_populate_recordset(null::\(target.qualified), coalesce($1::jsonb -> 'expect' -> $2, '[]'))
        """
    }

    static func describe(_ difference: RowDifference) -> String {
        switch (difference.live, difference.expected) {
        case (nil, _): "\(difference.table) \(difference.key): the row is missing"
        case (let live?, nil): "\(difference.table) \(difference.key): unexpected row \(live)"
        case (let live?, let expected?):
            "\(difference.table) \(difference.key): \(difference.columns.joined(separator: ", ")) differ\n"
                + columns(difference, live, expected) + "    expected \(expected)\n    got      \(live)"
        }
    }

    /// A line for each column that differs, with both values.
    private static func columns(_ difference: RowDifference, _ live: String, _ expected: String) -> String {
        guard let live = try? JSONText.members(of: live), let expected = try? JSONText.members(of: expected) else {
            return ""
        }
        return difference.columns.map { column in
            func value(_ row: [JSONText.Member]) -> String {
                row.first { $0.name == ExactText(column) }.map { String(decoding: $0.value, as: UTF8.self) }
                    ?? "nothing"
            }
            return "    \(column)  expected \(value(expected)), got \(value(live))\n"
        }.joined()
    }
}
