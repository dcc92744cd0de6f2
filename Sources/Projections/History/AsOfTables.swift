import EventStore
package import LedgerCore
package import Postgres

/// Makes a whole read model as of a past position, in a schema of its own, so that SQL can query
/// the past or compare two moments.
///
/// The live projection's SQL folds all of it in one transaction. Others see the schema when its
/// tables are complete, and not before.
package struct AsOfTables: Sendable {
    package struct Receipt: Sendable {
        package let position: Position
        package let rows: Int
        package let digest: String
        package let duration: Duration
    }

    /// The table exists already. Nothing was written.
    package struct Taken: Error, Sendable, CustomStringConvertible {
        package let schema: String
        package let table: String
        package var description: String {
            """
            the table \(schema).\(table) exists already: name another schema, or drop this one first \
            (DROP SCHEMA "\(schema)" CASCADE)
            """
        }
    }

    private let definition: ProjectionDefinition
    private let ledger: LedgerName
    private let window: Int64

    package init(_ definition: ProjectionDefinition, ledger: LedgerName, window: Int) {
        precondition(window > 0)
        self.definition = definition
        self.ledger = ledger
        self.window = Int64(window)
    }

    /// Makes the tables as they were when the log ended at `position`.
    /// - Parameters:
    ///   - schema: created if it is missing. It can hold the tables of several projections.
    ///   - progress: called after every window with the folded position and `position`.
    package func run(
        until position: Position, into schema: LedgerName, on connection: PostgresConnection,
        progress: (Position, Position) async throws -> Void = { _, _ in }
    ) async throws -> Receipt {
        let start = ContinuousClock.now
        let past = Fold(definition, ledger: ledger, schema: schema.text)
        return try await connection.transaction { connection in
            for table in definition.tables {
                if try await connection.hasTable(table, in: schema.text) {
                    throw Taken(schema: schema.text, table: table)
                }
            }
            try await connection.execute(
                script: """
                    CREATE SCHEMA IF NOT EXISTS "\(schema)";
                    GRANT USAGE ON SCHEMA "\(schema)" TO "\(ledger.text)_reader"
                    """)
            try await past.createTables(on: connection)
            var folded: Position = 0
            var analysis = AnalysisSchedule()
            while folded < position {
                let next = min(position, folded + window)
                try await past.apply(after: folded, upTo: next, on: connection)
                folded = next
                if analysis.isDue(after: folded) { try await past.analyse(roughly: true, on: connection) }
                try await progress(folded, position)
            }
            try await past.analyse(on: connection)
            try await past.grantToReaders(on: connection)
            for table in definition.tables {
                try await connection.execute(
                    script: """
                        COMMENT ON TABLE "\(schema)"."\(table)"
                          IS '\(definition.name) of \(ledger) as of position \(position)'
                        """)
            }
            let digest = try await TableDigest.of(past, on: connection)
            return Receipt(
                position: position, rows: digest.rows, digest: digest.digest, duration: start.duration(to: .now))
        }
    }
}
