package import EventStore
package import LedgerCore
import Postgres

/// Reads the row of a stream in a read model, now and as of a past position.
package struct StreamReadModel: Sendable {
    /// A projection with the category in `rows`.
    package let definition: ProjectionDefinition
    package let category: Category
    private let shown: StreamTable
    private let store: EventStore

    /// - Throws: ``NoRows`` if the definition has no row for each stream of the category.
    package init(_ definition: ProjectionDefinition, of category: Category, store: EventStore) throws(NoRows) {
        self.definition = definition
        self.category = category
        self.store = store
        shown = try definition.rows(of: category)
    }

    /// The row as it is now, as a JSON object; `nil` if there is none.
    ///
    /// The projection is some milliseconds behind the log. This waits until it has folded
    /// everything that was appended before the call, so that callers see their own writes, but no
    /// longer than `timeout`. A projection that is not running is not waited for.
    package func row(_ id: JobID, timeout: Duration = .seconds(2)) async throws -> String? {
        let head = try await store.head()
        let deadline = ContinuousClock.now.advanced(by: timeout)
        while let position = try await runningPosition(), position < head, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(5))
        }
        return try await present(id).row
    }

    /// The row as it is now, and the position that the projection had reached in the same snapshot.
    package func present(_ id: JobID) async throws -> (position: Position, row: String?) {
        try await store.pool.withConnection { connection in
            try await connection.discardedTransaction(.repeatableRead) { connection in
                let position = try await connection.query(Self.position, definition.name).first.map {
                    try $0.decode(0, as: Position.self)
                }
                // The tables are made with the projection's first row of state.
                guard let position else { return (0, nil) }
                let rows = try await StreamRows.of(shown, of: category, in: store.ledger.text, on: connection)
                return (position, try await connection.query(rows.row, id).first.map { try $0.decode(0) })
            }
        }
    }

    private static let position = "SELECT position FROM projections WHERE name = $1"

    /// How far the projection is; `nil` if it stands still, because no projector runs or an event
    /// cannot be folded.
    private func runningPosition() async throws -> Position? {
        try await store.pool.withConnection { connection in
            try await connection.query(Self.runningPosition, definition.name).first.map { try $0.decode(0) }
        }
    }

    private static let runningPosition = """
        SELECT position FROM projections
         WHERE name = $1 AND state = 'running' AND \(ProjectionState.hasProjector)
        """

    /// The row as it was when the log ended at `position`, as a JSON object; `nil` if there was
    /// none. The same SQL folds the stream's events up to there into temporary tables.
    /// - Throws: ``DependsOnTheLog`` if rows depend on more than their stream.
    package func row(_ id: JobID, at position: Position) async throws -> String? {
        try definition.requireStreamKey()
        let past = Fold(definition, ledger: store.ledger, schema: "pg_temp")
        return try await store.pool.withConnection { connection in
            try await connection.discardedTransaction { connection in
                try await connection.query("SELECT set_config('jobledger.stream', $1, true)", id)
                try await connection.execute(
                    script: AsOfEvents.view(
                        """
                        category = '\(category)' AND \(AsOfEvents.stream) = current_setting('jobledger.stream')
                        """))
                try await past.createTables(on: connection)
                try await past.apply(after: 0, upTo: position, on: connection)
                let rows = try await StreamRows.of(shown, of: category, in: "pg_temp", on: connection)
                return try await connection.query(rows.row, id).first.map { try $0.decode(0) }
            }
        }
    }
}

extension ProjectionDefinition {
    /// The table with the rows of a category's streams.
    func rows(of category: Category) throws(NoRows) -> StreamTable {
        guard let table = rows[category] else { throw NoRows(projection: name, category: category) }
        return table
    }

    /// A fold of one stream's events gives that stream's rows only if each depends on one stream.
    func requireStreamKey() throws(DependsOnTheLog) {
        guard key == .stream else { throw DependsOnTheLog(projection: name) }
    }

    /// The definition whose rows show the streams of a category.
    /// - Parameter name: that of the projection; needed only where several have such rows.
    /// - Throws: ``NoReadModel``
    package static func showing(
        _ category: Category, named name: String? = nil, among definitions: [ProjectionDefinition]
    ) throws(NoReadModel) -> ProjectionDefinition {
        let showing = definitions.filter { $0.rows[category] != nil }
        let chosen = showing.filter { name == nil || $0.name == name }
        guard chosen.count == 1 else {
            throw NoReadModel(category: category, name: name, showing: showing.map(\.name))
        }
        return chosen[0]
    }
}

/// A projection has no row for each stream of a category.
package struct NoRows: Error, Sendable, CustomStringConvertible {
    package let projection: String
    package let category: Category
    package var description: String {
        """
        \(projection) has no row for each stream of the category \(category): add "rows": {"\(category)": "TABLE"} to \
        its projection.json, if one of its tables has
        """
    }
}

/// The rows of a projection depend on the whole log, so the past of one stream cannot be had alone.
package struct DependsOnTheLog: Error, Sendable, CustomStringConvertible {
    package let projection: String
    package var description: String {
        """
        the rows of \(projection) depend on the whole log ("key": "log"), so those of one stream cannot be folded \
        alone. Make its tables as they were: jobledger rebuild \(projection) --until POSITION --into SCHEMA
        """
    }
}

/// It is not clear which read model shows the streams of a category.
package struct NoReadModel: Error, Sendable, CustomStringConvertible {
    package let category: Category
    package let name: String?
    package let showing: [String]
    package var description: String {
        if showing.isEmpty {
            return """
                no projection has a row for each stream of the category \(category): add "rows": {"\(category)": \
                "TABLE"} to the projection.json of one that has, and name its folder with --projections
                """
        }
        let these = showing.joined(separator: ", ")
        guard let name else { return "several projections show the category \(category): choose one of \(these)" }
        return "the projection \(name) does not show the category \(category): choose one of \(these)"
    }
}

// What was asked for, and the definition that was given, do not fit.
extension NoRows: ExitStatusProviding { package var exitStatus: ExitStatus { .usage } }
extension DependsOnTheLog: ExitStatusProviding { package var exitStatus: ExitStatus { .usage } }
extension NoReadModel: ExitStatusProviding { package var exitStatus: ExitStatus { .usage } }
extension StreamRows.NoStreamKey: ExitStatusProviding { package var exitStatus: ExitStatus { .usage } }
