import EventStore
import LedgerCore
import Postgres

/// Refolds a projection up to where it stands and compares.
///
/// One transaction with one snapshot sees the tables and their checkpoint as they were at the same moment, refolds
/// beside them, and is rolled back: nothing waits for it, nothing is left of it.
public struct Verification: Sendable {
    public struct Finding: Sendable {
        public let projection: String
        public let position: Position
        public let liveDigest: String
        public let rebuiltDigest: String
        /// The first differences; empty where both are equal.
        public let differences: [RowDifference]
        public var isEqual: Bool { liveDigest == rebuiltDigest }
    }

    public struct NotProjected: Error, Sendable, CustomStringConvertible {
        public let projection: String
        public let reason: String
        public var description: String { "\(projection) cannot be verified: \(reason)" }
    }

    private let definition: ProjectionDefinition
    private let ledger: LedgerName
    private let window: Int64
    private static let mostDifferences = 100

    public init(_ definition: ProjectionDefinition, ledger: LedgerName, window: Int = 100_000) {
        self.definition = definition
        self.ledger = ledger
        self.window = Int64(window)
    }

    public func run(
        on connection: PostgresConnection, progress: (Position, Position) async throws -> Void = { _, _ in }
    ) async throws -> Finding {
        // No rebuild swaps the tables meanwhile: this snapshot could not see what is in the new ones.
        let key = Rebuild.lockKey(ledger: ledger, projection: definition.name)
        try await connection.query("SELECT pg_advisory_lock_shared(hashtextextended($1, 0))", key)
        do {
            let finding = try await compare(on: connection, progress: progress)
            try await connection.query("SELECT pg_advisory_unlock_shared(hashtextextended($1, 0))", key)
            return finding
        } catch {
            // The lock belongs to the session, and ends with it if it cannot be given back.
            if await connection.isUsable() {
                _ = try? await connection.query("SELECT pg_advisory_unlock_shared(hashtextextended($1, 0))", key)
            }
            throw error
        }
    }

    private func compare(
        on connection: PostgresConnection, progress: (Position, Position) async throws -> Void
    ) async throws -> Finding {
        let live = Fold(definition, ledger: ledger)
        return try await connection.discardedTransaction(.repeatableRead) { connection in
            guard let state = try await ProjectionState.load(definition.name, on: connection) else {
                throw NotProjected(projection: definition.name, reason: "no projector has run yet (jobledger project)")
            }
            guard state.definition == definition.hash else {
                throw NotProjected(
                    projection: definition.name,
                    reason:
                        "its tables were made by another definition than this program's (jobledger rebuild \(definition.name))")
            }
            let schema = Fold.schemaBeside(ledger, process: await connection.serverProcess)
            let rebuilt = Fold(definition, ledger: ledger, schema: schema)
            try await connection.execute(script: "CREATE SCHEMA \"\(schema)\"")
            try await rebuilt.createTables(on: connection)
            var position: Position = 0
            var analysis = AnalysisSchedule()
            while position < state.position {
                let next = min(state.position, position + window)
                try await rebuilt.apply(after: position, upTo: next, on: connection)
                position = next
                if analysis.isDue(after: position) { try await rebuilt.analyse(on: connection) }
                try await progress(position, state.position)
            }
            let digests = (try await TableDigest.of(live, on: connection), try await TableDigest.of(rebuilt, on: connection))
            var differences: [RowDifference] = []
            if digests.0 != digests.1 {
                for table in definition.tables where differences.count < Self.mostDifferences {
                    differences += try await RowDifference.between(
                        live: try await .of(table, in: live.schema, on: connection),
                        expected: try await .of(table, in: rebuilt.schema, on: connection),
                        table: table, limit: Self.mostDifferences - differences.count, on: connection)
                }
            }
            return Finding(
                projection: definition.name, position: state.position, liveDigest: digests.0.digest,
                rebuiltDigest: digests.1.digest, differences: differences)
        }
    }
}
