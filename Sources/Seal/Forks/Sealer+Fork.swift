import LedgerCore
import Logging
import Postgres
import PrivateFiles
package import TransparencyLog

/// The key that sealed a ledger before it lost events, with the record of what it has signed.
package struct EndedSeal: Sendable {
    let key: SealKey
    let record: SealerRecord

    package init(key: SealKey, record: SealerRecord) {
        self.key = key
        self.record = record
    }
}

extension Sealer {
    /// Has the key that sealed before sign where its history ends, and that this key goes on. Does
    /// nothing if the ledger has that statement.
    /// - Throws: ``SealStopped`` if nothing that it sealed is lost, or if the shared part is not
    ///   what it has sealed.
    func signFork(
        after ended: EndedSeal, _ state: SealState, on connection: PostgresConnection,
        reading reader: PostgresConnection
    ) async throws {
        do {
            let fork: SealFork
            if let signed = try await ended.record.fork(of: ended.key.verifier) {
                // A key ends once. A second statement could name another end.
                guard signed.successor == key.verifier else {
                    throw SealStopped(
                        "the key \(ended.key.name) has signed already that the key \(signed.successor) goes on: "
                            + "seal with that one")
                }
                fork = signed
            } else {
                fork = try await makeFork(after: ended, state, on: connection, reading: reader)
                try await ended.record.save(fork, of: ended.key.verifier)
                logger.notice("a fork was signed", metadata: ["fork": "\(fork.summary)"])
            }
            let isKept: Bool = try await connection.query(
                "SELECT add_seal_fork($1, $2, $3, $4, $5, $6, $7)", state.epoch, ended.key.verifier.signer,
                fork.ended.size, fork.endedEpoch, fork.shared, fork.successor.signer, fork.text
            ).only().decode(0)
            guard isKept else { throw SealStopped("the ledger has begun another epoch meanwhile: run this again") }
        } catch let error as KeyFile.Failure {
            throw SealStopped("\(error)")
        } catch let error as SealDamaged {
            throw SealStopped("\(error). jobledger audit verify says more")
        }
    }

    private func makeFork(
        after ended: EndedSeal, _ state: SealState, on connection: PostgresConnection,
        reading reader: PostgresConnection
    ) async throws -> SealFork {
        guard let signed = try await ended.record.load(), signed.checkpoint.head.origin == ended.key.name else {
            throw SealStopped(
                "\(ended.record.path) has nothing that the key \(ended.key.name) has signed: "
                    + "it cannot say where it ends"
            )
        }
        do {
            try signed.checkpoint.verify(by: ended.key.verifier)
        } catch {
            throw SealStopped("\(ended.record.path): \(error)")
        }
        let head = signed.checkpoint.head
        let shared = try await shared(with: ended, signed, on: connection, reading: reader)
        guard shared < head.size else {
            throw SealStopped(
                "the ledger has all \(head.size) events that the key \(ended.key.name) has sealed: "
                    + "that key goes on by itself, without --after-loss")
        }
        guard let edge = try await edge(of: state, upTo: shared, on: connection) else {
            throw SealStopped(
                "\(state.size) events are sealed in the ledger, and only \(shared) of those that \(ended.key.name) has "
                    + "sealed are left: the tables of the seal are not those of the log. "
                    + "jobledger audit verify says more"
            )
        }
        let trees = try await SharedTree(
            head, shared: shared, from: edge, leaves: ended.record.leaves(after: shared, upTo: head.size),
            on: connection, reading: reader)
        guard trees.isSame(as: head) else {
            throw SealStopped(
                """
                the first \(shared) events, with the \(head.size - shared) lost ones of \
                \(ended.record.leavesPath), are not those that were signed (\(ended.record.path)): the history was \
                rewritten, or that file is damaged. jobledger audit verify --against \(ended.record.path) says \
                more; without the file the statement is signed without a proof
                """)
        }
        let proved = try await trees.proof(of: ended.key.verifier)
        return try SealFork(
            ended: head, in: signed.epoch, shared: proved.shared, sharedRoot: proved.root, proof: proved.proof,
            goingOnIn: state.epoch, signedBy: ended.key, and: key)
    }

    /// The edge of the tree in the ledger, at most that of the shared events. This key may have
    /// sealed others after them already: then the statement comes late.
    /// - Returns: `nil` where the tree is not this key's, or its tiles are missing.
    private func edge(
        of state: SealState, upTo shared: Position, on connection: PostgresConnection
    ) async throws -> CompactRange? {
        if state.size <= shared { return state.edge }
        guard state.last?.signer == key.verifier.signer else { return nil }
        return try await StoredTiles(connection: connection, edge: state.edge).edge(at: shared)
    }
}
