package import EventStore
package import LedgerCore
import Postgres
package import TransparencyLog

/// Checks the events against the seal, and names each event that is not what was sealed.
///
/// The signature of the checkpoint covers the root of the tree, the root covers the tiles, and the
/// tiles have the hash of each event. So each event is compared with the hash at its position, and
/// an event that was removed is missing there. It reads the log once, and its memory does not grow
/// with the log.
package struct SealVerification: Sendable {
    package struct Finding: Sendable, Equatable {
        package enum Kind: String, Sendable {
            /// The event is not the one that was sealed here.
            case altered
            /// The event that was sealed here is gone.
            case removed
            /// No such event was sealed.
            case added
            /// The event was sealed at another position.
            case moved
            /// The recorded time is before that of the event before.
            case time
            /// The hashes of a tile are not what was signed.
            case tile
            /// A checkpoint is missing, or its signature or its root is wrong.
            case checkpoint
            /// The history is not that of a checkpoint from outside.
            case history
            /// The ledger lost these events, which a checkpoint from outside has. The key of the
            /// checkpoint has signed that.
            case lost
            /// The statement of a fork is not sound.
            case fork
            /// The record of who holds a value that must be unique is not what the log says.
            case claim
        }

        package var kind: Kind
        package var positions: ClosedRange<Position>
        package var message: String
    }

    package struct Answer: Sendable {
        /// The events up to this position are sealed.
        package var position: Position
        package var head: Position
        /// The positions that were checked; `nil` where there were none.
        package var checked: ClosedRange<Position>?
        /// The key whose signature was checked; `nil` where none was given.
        package var key: VerifierKey?
        package var findings: [Finding]
        /// The number of findings beyond those in ``findings``.
        package var more: Int
        /// Where sealed histories ended because the ledger lost events, and which keys went on.
        /// They are no findings: nobody tampered with the log.
        package var forks: [SealFork]

        package var isClean: Bool { findings.isEmpty && more == 0 }
    }

    private let store: EventStore
    private let key: VerifierKey?
    private let against: [SignedCheckpoint]
    private let directory: TileDirectory?

    /// - Parameters:
    ///   - key: the key that must have signed; with `nil` no signature is checked.
    ///   - against: checkpoints from outside the database. The ledger must have their history.
    ///   - directory: the directory with the checkpoint and the tiles; `nil` takes those in the
    ///     tables of the ledger.
    package init(
        _ store: EventStore, key: VerifierKey?, against: [SignedCheckpoint] = [], directory: TileDirectory? = nil
    ) {
        self.store = store
        self.key = key
        self.against = against
        self.directory = directory
    }

    /// - Parameters:
    ///   - from: the first position to check.
    ///   - to: the last position to check.
    ///   - progress: called with the number of events that are checked, and of all that will be.
    /// - Throws: where something cannot be read: `PostgresError`, `FileFailure`; with a directory
    ///   also ``SealDamaged`` where it has no sound tree. What is wrong with the log itself is a
    ///   finding.
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
        let chain = try await ForkChain(on: connection)
        // A key that has ended names the one that goes on, and is trusted for that.
        let keys = key.map(chain.keys(after:)) ?? []
        let trusted: TrustedTree
        if let directory {
            trusted = try await TrustedTree(directory, keys: keys)
        } else {
            trusted = try await TrustedTree(on: connection, reading: reader, keys: keys)
        }
        // Read the head after the seal: it is then never before the end of the seal.
        let head = try await connection.headOfLog()
        let end = min(to, max(head, trusted.edge.size))
        var verification = LogVerification(
            trusted, from: from, to: end, against: against.map(\.head) + chain.forks.map(\.sharedHead))
        if from <= end {
            var leaves = LeafReader()
            for try await chunk in reader.copyOut(LeafReader.script(after: from - 1, upTo: end)) {
                try leaves.read(chunk) { verification.rows.append($0) }
                try await verification.compareBuffered()
                progress(verification.comparedCount, end - from + 1)
            }
        }
        try await verification.finish()
        for message in chain.unreadable { verification.report(fork: message) }
        for fork in chain.forks { try await verification.check(fork, keys) }
        for checkpoint in against {
            try await verification.compare(
                with: checkpoint.head, fork: chain.fork(of: checkpoint.head),
                unsigned: try await UnsignedLoss(of: checkpoint.head, on: connection))
        }
        var findings = verification.findings
        try await FindingLabels.add(to: &findings, on: connection)
        let claims = to >= head ? try await ClaimCheck.findings(head: head, on: connection) : []
        return Answer(
            position: trusted.edge.size, head: head, checked: from <= end ? from...end : nil, key: key,
            findings: findings.map(\.finding) + claims, more: verification.more, forks: chain.forks)
    }
}
