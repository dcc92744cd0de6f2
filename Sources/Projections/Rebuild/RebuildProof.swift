import LedgerCore
import Postgres

/// The digests of the new tables and of those in use at one position.
struct RebuildProof: Sendable {
    let position: Position
    let fresh: TableDigest
    let liveDigest: String?
    /// The indexes that could not be made meanwhile.
    let notCarried: [String]
}

extension Fold {
    fileprivate func digest(on connection: PostgresConnection) async throws -> String {
        try await TableDigest.of(self, on: connection).digest
    }
}

extension Rebuild {
    /// Computes the digest of the new tables and, if the same definition made both, of those in use
    /// at the same position.
    ///
    /// The live projection stands still until a snapshot shows both at one position. It runs on
    /// while the digests are computed in that snapshot, however long that takes.
    /// - Parameter beside: runs while the digests are computed, when the new tables have reached
    ///   the position of the comparison.
    func prove(
        _ record: inout RebuildRecord, on connection: PostgresConnection, progress: Progress,
        beside: @Sendable (RebuildRecord) async throws -> [String]
    ) async throws -> RebuildProof {
        try await approach(&record, on: connection, progress: progress)
        return try await connection.withAnother { still in
            // Until the end of this transaction the live projection stands still.
            try await still.execute(script: "BEGIN")
            let state = try await ProjectionState.lock(definition.name, on: still)
            var isComparable = false
            if let state, state.definition == definition.hash, let position = record.position,
                position <= state.position
            {
                try await catchUp(&record, upTo: state.position, on: connection, progress: progress)
                isComparable = try await hasAllTables(on: connection)
            }
            tell(.comparing)
            let (fresh, position) = (fresh(record), record.position ?? 0)
            let live = isComparable ? Fold(definition, ledger: ledger) : nil
            let joined = record
            return try await withLongStatements(connection) { longRunning in
                try await longRunning.discardedTransaction(.repeatableRead) { longRunning in
                    try await longRunning.query("SELECT 'the snapshot'")
                    try await still.execute(script: "ROLLBACK")
                    async let notCarried = beside(joined)
                    let digest = try await TableDigest.of(fresh, on: longRunning)
                    let liveDigest = try await live?.digest(on: longRunning)
                    return RebuildProof(
                        position: position, fresh: digest, liveDigest: liveDigest, notCarried: try await notCarried)
                }
            }
        }
    }

    /// Folds until the new tables are near those in use, so that these need to stand still only
    /// briefly. If the two are not to be compared, folds up to the head.
    private func approach(_ record: inout RebuildRecord, on connection: PostgresConnection, progress: Progress)
        async throws
    {
        while true {
            guard let live = try await liveToCompare(on: connection) else {
                return try await catchUp(&record, on: connection, progress: progress)
            }
            guard let position = record.position, position < live.position else { return }
            try await yieldToLive(on: connection)
            try await catchUp(&record, upTo: min(live.position, position + window), on: connection, progress: progress)
            if live.position - position <= window { return }
        }
    }

    private func hasAllTables(on connection: PostgresConnection) async throws -> Bool {
        for table in definition.tables {
            guard try await connection.hasTable(table, in: ledger.text) else { return false }
        }
        return true
    }
}
