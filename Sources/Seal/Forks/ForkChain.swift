import LedgerCore
import Postgres
import TransparencyLog

/// The forks of a ledger's seal, as its table has them, in the order in which they were signed.
struct ForkChain: Sendable {
    var forks: [SealFork] = []
    /// The texts in the table that are no statements of a fork.
    private(set) var unreadable: [String] = []

    /// The most that are read. A ledger has one for each failover that lost something.
    private static let most: Int64 = 1000

    init(on connection: PostgresConnection) async throws {
        let rows = try await connection.query("SELECT note FROM seal_forks ORDER BY signed_at LIMIT $1", Self.most)
        for row in rows {
            let note: String = try row.decode(0)
            do {
                forks.append(try SealFork(note))
            } catch {
                unreadable.append("\(error)")
            }
        }
    }

    /// The keys that follow a trusted key, itself first: each is named in a statement that the one
    /// before has signed.
    func keys(after key: VerifierKey) -> [VerifierKey] {
        var keys = [key]
        while let last = keys.last,
            let fork = forks.first(where: { $0.isSigned(by: last) && $0.problem == nil && !keys.contains($0.successor) }
            )
        {
            keys.append(fork.successor)
        }
        return keys
    }

    /// The fork by which the ledger lost events of a checkpoint.
    func fork(of head: TreeHead) -> SealFork? {
        forks.first { $0.ended.origin == head.origin && $0.shared < head.size && head.size <= $0.ended.size }
    }
}

extension SignedCheckpoint {
    /// Checks that one of these keys has signed.
    func verify(byOneOf keys: [VerifierKey]) throws(NotSigned) {
        for key in keys.dropLast() where note.isSigned(byAnyOf: [key]) && head.origin == key.name { return }
        if let last = keys.last { try verify(by: last) }
    }
}
