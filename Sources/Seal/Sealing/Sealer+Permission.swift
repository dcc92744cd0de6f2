import EventStore
import LedgerCore
import Postgres
import TransparencyLog

extension Sealer {
    /// The state of the seal, after the check that this key may continue it.
    /// - Throws: ``SealStopped``
    func checkedState(on connection: PostgresConnection, reading reader: PostgresConnection) async throws -> SealState {
        let (state, remembered): (SealState, SealerRecord.Content?)
        do {
            state = try await SealState.load(on: connection)
            remembered = try await record.load()
        } catch let error as SealDamaged {
            throw SealStopped("\(error). jobledger audit verify says more")
        } catch let error as KeyFile.Failure {
            throw SealStopped("\(error)")
        }
        let own = remembered.flatMap { $0.checkpoint.head.origin == key.name ? $0 : nil }
        if own == nil, let named = key.name.text.split(separator: "/").last.flatMap({ EventID(text: String($0)) }),
            named != state.epoch
        {
            throw SealStopped(
                """
                the key \(key.name) is for another epoch of the ledger, which has begun the epoch \
                \(state.epoch.text): make a key for it (jobledger audit key --out FILE), and give the new \
                verifier key to those who check
                """)
        }
        if let last = state.last, last.signer == key.verifier.signer {
            do {
                try last.checkpoint.verify(by: key.verifier)
            } catch {
                throw SealStopped("\(error), though it says so: it was altered. jobledger audit verify says more")
            }
        }
        guard let own else { return state }
        if own.epoch != state.epoch { try await checkContinues(own, in: state.epoch, on: connection) }
        try await check(own.checkpoint.head, against: state, on: connection, reading: reader)
        return state
    }

    /// Checks that a new epoch of the ledger lost nothing that this key has signed, as after a
    /// switchover. Then the key goes on.
    private func checkContinues(
        _ signed: SealerRecord.Content, in epoch: EventID, on connection: PostgresConnection
    ) async throws {
        let size = signed.checkpoint.head.size
        let shared: Position = try await connection.query("SELECT shared_position($1, $2)", signed.epoch.text, size)
            .only().decode(0)
        guard shared == size else {
            _ = try await connection.noteLoss(by: "sealer", Place(size, epoch: EpochDigits(signed.epoch)))
            throw SealStopped(
                """
                the key \(key.name) has signed \(size) events in the epoch \(signed.epoch.text), of which the \
                ledger has only the first \(shared) in its epoch \(epoch.text): make a key for it \
                (jobledger audit key --out FILE), seal with that one and --after-loss with the file of this \
                key, and give the new verifier key to those who check
                """)
        }
    }

    /// Checks that the tree that this key has signed is the beginning of the log as it is now.
    private func check(
        _ signed: TreeHead, against state: SealState, on connection: PostgresConnection,
        reading reader: PostgresConnection
    ) async throws {
        let root: MerkleHash
        if signed.size <= state.size {
            do {
                root = try await StoredTiles(connection: connection, edge: state.edge).root(
                    at: signed.size, treeOf: state.size)
            } catch let error as SealDamaged {
                throw SealStopped("\(error). jobledger audit verify says more")
            }
        } else {
            // The sealer was killed between the signature and the commit, or an older state of the
            // database was restored.
            var growth = TreeGrowth(state.edge)
            try await growth.read(reader, upTo: signed.size, timeout: nil, keepsTiles: false)
            guard growth.edge.size == signed.size else {
                throw SealStopped(
                    """
                    the log ends at position \(growth.edge.size), but \(signed.size) events have been signed \
                    (\(record.path)): it was rolled back. After restoring a backup begin another epoch, \
                    SELECT begin_epoch(), and make a key for it
                    """)
            }
            root = growth.edge.root
        }
        guard root == signed.root else {
            throw SealStopped(
                """
                the first \(signed.size) events are not those that were signed (\(record.path)): the history was \
                rewritten. jobledger audit verify --against \(record.path) confirms it
                """)
        }
    }
}

/// Why a sealer has stopped signing. It continues by itself once the reason is gone.
package struct SealStopped: Error, Sendable, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}
