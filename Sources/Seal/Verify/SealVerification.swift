package import EventStore
package import LedgerCore
import Postgres
package import TransparencyLog

/// Recomputes the seal from the events, and names each that is not what was sealed.
///
/// The checkpoint's signature vouches for its root, the root for the tiles, the tiles for the hash
/// of each event; so an event is compared with what was sealed at its place, and one that is gone
/// is missed there. Reads the log once; memory does not grow with it.
package struct SealVerification: Sendable {
    package struct Finding: Sendable, Equatable {
        package enum Kind: String, Sendable {
            /// Events: not what was sealed; not there; not sealed; sealed elsewhere.
            case altered, removed, added, moved
            /// Recorded before the event before it.
            case time
            /// The seal: hashes that are not what was signed; a checkpoint that is not what it
            /// says, or is missing; another history than the one that a checkpoint from outside
            /// knows.
            case tile, checkpoint, history
        }

        package var kind: Kind
        package var positions: ClosedRange<Position>
        package var message: String
    }

    package struct Answer: Sendable {
        /// The events up to here were sealed.
        package var position: Position
        package var head: Position
        /// The positions that were looked at.
        package var checked: ClosedRange<Position>?
        /// The key whose signature was checked; `nil` where none was given.
        package var key: VerifierKey?
        package var findings: [Finding]
        /// Findings beyond those that are kept.
        package var more: Int

        package var isClean: Bool { findings.isEmpty && more == 0 }
    }

    private let store: EventStore
    private let key: VerifierKey?
    private let against: [SignedCheckpoint]
    private let directory: TileDirectory?

    /// - Parameters:
    ///   - key: who must have signed; `nil` takes the ledger's word for it.
    ///   - against: checkpoints from outside the database, whose history must be that of the
    ///     ledger.
    ///   - directory: where the checkpoint and the tiles come from in place of the ledger's tables.
    package init(
        _ store: EventStore, key: VerifierKey?, against: [SignedCheckpoint] = [], directory: TileDirectory? = nil
    ) {
        self.store = store
        self.key = key
        self.against = against
        self.directory = directory
    }

    /// - Parameters:
    ///   - from: the first position to look at.
    ///   - to: the last.
    ///   - progress: how many events are done, of how many.
    package func run(
        from: Position = 1, to: Position = .max, progress: (Int64, Int64) -> Void = { _, _ in }
    ) async throws -> Answer {
        var configuration = store.pool.configuration
        let connection = try await PostgresConnection.connect(configuration, timeout: .seconds(5))
        configuration.sessionSettings += EventWindow.sessionSettings
        let reader = try await PostgresConnection.connect(configuration, timeout: .seconds(5))
        do {
            let answer = try await run(max(1, from), to, connection, reader, progress)
            await connection.close()
            await reader.close()
            return answer
        } catch {
            await connection.close()
            await reader.close()
            throw error
        }
    }

    private func run(
        _ from: Position, _ to: Position, _ connection: PostgresConnection, _ reader: PostgresConnection,
        _ progress: (Int64, Int64) -> Void
    ) async throws -> Answer {
        let trusted: TrustedTree
        if let directory {
            trusted = try await TrustedTree(directory, key: key)
        } else {
            trusted = try await TrustedTree(on: connection, reading: reader, key: key)
        }
        // Looked at after the seal, so that everything sealed is there.
        let head: Position = try await connection.query("SELECT head()").only().decode(0)
        let end = min(to, max(head, trusted.edge.size))
        var verification = LogVerification(trusted, from: from, to: end, against: against.map(\.head))
        if from <= end {
            var leaves = LeafReader()
            for try await chunk in reader.copyOut(LeafReader.script(after: from - 1, upTo: end)) {
                try leaves.read(chunk) { verification.rows.append($0) }
                try await verification.compareBuffered()
                progress(verification.comparedCount, end - from + 1)
            }
        }
        try await verification.finish()
        for checkpoint in against { await verification.compare(with: checkpoint.head) }
        var findings = verification.findings
        try await FindingLabels.add(to: &findings, on: connection)
        return Answer(
            position: trusted.edge.size, head: head, checked: from <= end ? from...end : nil, key: key,
            findings: findings.map(\.finding), more: verification.more)
    }
}
