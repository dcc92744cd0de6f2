import EventStore
package import LedgerCore
package import Postgres

/// Refolds a projection up to its checkpoint, and compares the result with the tables in use.
///
/// It is one transaction with one snapshot, in which the tables and their checkpoint belong
/// together. The transaction refolds into tables of its own and is rolled back. Nobody waits for
/// it.
package struct Verification: Sendable {
    package struct Finding: Sendable {
        package let projection: String
        package let position: Position
        package let liveDigest: String
        package let rebuiltDigest: String
        /// The first differing rows; empty if there are none.
        package let differences: [RowDifference]
        /// What the log says about each difference, in the same order.
        package let explanations: [Explanation]
        /// The events that both sides leave out, because an operator skipped them.
        package let skipped: [Skipped]
        /// Tables with row policies, of which readers may see fewer rows than were compared.
        package let tablesWithPolicies: [String]
        /// Whether the tables are what the log gives. They are not if a skipped event can be
        /// folded: it was skipped without need, and the tables lack it.
        package var isEqual: Bool { liveDigest == rebuiltDigest && !skipped.contains(where: \.canBeFolded) }
    }

    package struct Skipped: Sendable {
        package let record: SkippedEvent
        /// Whether it could be folded after everything before it.
        package let canBeFolded: Bool
    }

    package struct NotProjected: Error, Sendable, CustomStringConvertible {
        package let projection: String
        package let reason: String
        package var description: String { "\(projection) cannot be verified: \(reason)" }
    }

    private let definition: ProjectionDefinition
    private let ledger: LedgerName
    private let window: Int64
    private let author: String
    private static let mostDifferences = 100

    /// - Parameter by: the author to record.
    package init(
        _ definition: ProjectionDefinition, ledger: LedgerName, window: Int = WindowSize.standard,
        by: String = Author.current
    ) {
        self.definition = definition
        self.ledger = ledger
        self.window = Int64(window)
        author = by
    }

    package func run(
        on connection: PostgresConnection, progress: (Position, Position) async throws -> Void = { _, _ in }
    ) async throws -> Finding {
        let start = ContinuousClock.now
        let (finding, rebuilt) = try await ReplayLock.withLock(
            ReplayLock.swap(definition.name, ledger), of: definition.name, shared: true, on: connection
        ) {
            try await compare(on: connection, progress: progress)
        }
        try await RecordedReceipt.add(
            .verify, definition, at: finding.position, digest: rebuilt, live: finding.liveDigest,
            events: finding.position, duration: start.duration(to: .now), workers: 1, window: window, by: author,
            on: connection)
        return finding
    }

    private func compare(
        on connection: PostgresConnection, progress: (Position, Position) async throws -> Void
    ) async throws -> (Finding, TableDigest) {
        let live = Fold(definition, ledger: ledger)
        return try await connection.discardedTransaction(.repeatableRead) { connection in
            guard let state = try await ProjectionState.load(definition.name, on: connection) else {
                throw NotProjected(projection: definition.name, reason: "no projector has run yet (jobledger project)")
            }
            guard state.definition == definition.hash else {
                throw NotProjected(
                    projection: definition.name,
                    reason: """
                        its tables were made by another definition than this program's \
                        (jobledger rebuild \(definition.name))
                        """)
            }
            let tablesWithPolicies = try await requirePlainTables(on: connection)
            let schema = Fold.schemaBeside(ledger, process: await connection.serverProcess)
            let rebuilt = Fold(definition, ledger: ledger, schema: schema)
            try await connection.execute(script: "CREATE SCHEMA \"\(schema)\"")
            try await rebuilt.createTables(on: connection)
            var position: Position = 0
            var foldable: Set<Position> = []
            var analysis = AnalysisSchedule()
            while position < state.position {
                let next = min(state.position, position + window)
                try await rebuilt.apply(after: position, upTo: next, on: connection) { skipped in
                    if try await rebuilt.canFold(skipped, on: connection) { foldable.insert(skipped) }
                }
                position = next
                if analysis.isDue(after: position) { try await rebuilt.analyse(roughly: true, on: connection) }
                try await progress(position, state.position)
            }
            let digests = (
                try await TableDigest.of(live, on: connection), try await TableDigest.of(rebuilt, on: connection)
            )
            var differences: [RowDifference] = []
            if digests.0 != digests.1 {
                for table in definition.tables where differences.count < Self.mostDifferences {
                    differences += try await RowDifference.between(
                        live: try await .of(table, in: live.schema, on: connection),
                        expected: try await .of(table, in: rebuilt.schema, on: connection),
                        table: table, limit: Self.mostDifferences - differences.count, on: connection)
                }
            }
            let explainer = Explainer(definition, ledger: ledger, upTo: state.position)
            let skipped = try await SkippedEvents.records(of: definition, upTo: state.position, on: connection)
            let finding = Finding(
                projection: definition.name, position: state.position, liveDigest: digests.0.digest,
                rebuiltDigest: digests.1.digest, differences: differences,
                explanations: try await explainer.explain(differences, on: connection),
                skipped: skipped.map { Skipped(record: $0, canBeFolded: foldable.contains($0.position)) },
                tablesWithPolicies: tablesWithPolicies)
            return (finding, digests.1)
        }
    }

    /// Refuses to read anything but plain tables. The owner of a table could replace it by a view,
    /// which runs functions with the rights of its reader.
    /// - Returns: the tables with row policies, which hide rows from others.
    private func requirePlainTables(on connection: PostgresConnection) async throws -> [String] {
        let rows = try await connection.query(Self.kinds, ledger.text, definition.tables)
        for row in rows where try !row.decode(1, as: Bool.self) {
            throw NotProjected(
                projection: definition.name,
                reason:
                    "\(try row.decode(0, as: String.self)) is not a plain table any more: it is a view, or has rules")
        }
        return try rows.filter { try $0.decode(2) }.map { try $0.decode(0) }
    }

    /// For each table its name, whether it is a plain one, and whether it has row policies.
    private static let kinds = """
        SELECT relname::text,
               relkind = 'r' AND NOT EXISTS (SELECT FROM pg_rewrite WHERE ev_class = pg_class.oid), relrowsecurity
          FROM pg_class
         WHERE relnamespace = quote_ident($1)::regnamespace AND relname = ANY ($2)
         ORDER BY relname
        """
}
