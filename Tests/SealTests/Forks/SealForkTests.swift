import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Testing
import TransparencyLog

@testable import Seal

/// A failover loses events that were sealed: the key signs where its history ended, and another
/// goes on.
struct SealForkTests {
    /// A ledger that was sealed at 320 and at 600 events, and was then promoted on a server that
    /// had the first of the two seals and the events up to 450. 30 others came after.
    /// - Parameter epochIsLost: whether the second seal was in an epoch of a server that is gone.
    private static func afterLoss(
        shared: Position = 450, epochIsLost: Bool = false,
        _ body: (SealedLedger, _ next: SealKey, _ old: SignedCheckpoint) async throws -> Void
    ) async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(320)
            _ = try await sealed.sealer().sealUntilHead()
            let kept = try await sealed.keepSeal()
            if epochIsLost { try await sealed.ledger.beginEpoch() }
            try await sealed.fill(280, from: 1000)
            _ = try await sealed.sealer(window: 100).sealUntilHead()
            let old = try #require(try await sealed.state().last?.checkpoint)
            #expect(old.head.size == 600)
            try await sealed.restoreSeal(kept)
            if epochIsLost { try await sealed.loseLastEpoch() }
            try await sealed.ledger.lose(after: shared)
            try await sealed.fill(30, from: 5000)
            let next = try SealKey(name: "test/next/\(try await sealed.ledger.store.epoch().text)")
            try await body(sealed, next, old)
        }
    }

    @Test func theKeyStopsAndSignsTheFork() async throws {
        try await Self.afterLoss { sealed, next, old in
            let error = await #expect(throws: SealStopped.self) { try await sealed.sealer().sealUntilHead() }
            #expect("\(try #require(error))".contains("--after-loss"))
            #expect(
                try await sealed.ledger.store.knownLosses().map { "\($0.reader) \($0.positions)" } == [
                    "sealer 451...600"
                ])
            #expect(try await sealed.successor(next).sealUntilHead() == 480)
            try #require(try await sealed.state().last?.checkpoint).verify(by: next.verifier)
            try await sealed.checkTiles(try await sealed.leaves())

            let fork = try #require(try await sealed.forks().first)
            #expect(fork.ended == old.head && fork.shared == 450 && fork.lost == 451...600)
            #expect(fork.isSigned(by: sealed.key.verifier) && fork.successor == next.verifier && fork.problem == nil)
            #expect(fork.sharedRoot == roots(try await sealed.leaves())[450])
            let proof = try #require(fork.proof)
            #expect(proof.holds(old: 450, oldRoot: fork.sharedRoot, new: 600, newRoot: old.head.root))
            // Again, as after a restart: the same statement.
            #expect(try await sealed.successor(next).sealUntilHead() == 480)
            #expect(try await sealed.forks() == [fork])
            // The old key signs no second end.
            let other = try SealKey(name: next.name)
            let second = await #expect(throws: SealStopped.self) { try await sealed.successor(other).sealUntilHead() }
            #expect("\(try #require(second))".contains("has signed already"))
        }
    }

    /// The ledger does not know the epoch, so only the hashes tell how much is left.
    @Test(arguments: [450, 320, 600] as [Position]) func anEpochThatIsLostItself(_ shared: Position) async throws {
        try await Self.afterLoss(shared: shared, epochIsLost: true) { sealed, next, old in
            await #expect(throws: SealStopped.self) { try await sealed.sealer().sealUntilHead() }
            guard shared < old.head.size else {
                let error = await #expect(throws: SealStopped.self) {
                    try await sealed.successor(next).sealUntilHead()
                }
                #expect("\(try #require(error))".contains("has all 600 events"))
                return
            }
            #expect(try await sealed.successor(next).sealUntilHead() == shared + 30)
            let fork = try #require(try await sealed.forks().first)
            #expect(fork.ended == old.head && fork.shared == shared && fork.proof != nil && fork.problem == nil)
            #expect(try await sealed.verify(key: sealed.key.verifier).findings == [])
        }
    }

    /// Whoever has the old key, or an old checkpoint, learns what is gone; nothing else is
    /// reported.
    @Test func verificationNamesTheFork() async throws {
        try await Self.afterLoss { sealed, next, old in
            let middle = try SignedCheckpoint(
                TreeHead(origin: sealed.key.name, size: 320, root: roots(try await sealed.leaves())[320]),
                signedBy: sealed.key)
            // Before anybody has signed it, the epochs explain it.
            let unsigned = try await sealed.verify(against: [old])
            #expect(unsigned.findings.map(\.brief) == ["history 600"] && unsigned.forks == [])
            #expect(unsigned.findings[0].message.contains("lost its events 451–600"), "\(unsigned.findings)")

            _ = try await sealed.successor(next).sealUntilHead()
            for key in [sealed.key.verifier, next.verifier] {
                let answer = try await sealed.verify(key: key)
                #expect(answer.findings == [] && answer.forks.map(\.shared) == [450], "\(answer)")
            }
            let answer = try await sealed.verify(key: sealed.key.verifier, against: [middle, old])
            #expect(answer.findings.map(\.brief) == ["lost 451-600"], "\(answer.findings)")
            #expect(answer.findings[0].message.contains("all before them are the same"))
            // A key that has nothing to do with it.
            let stranger = try await sealed.verify(key: try SealKey(name: next.name).verifier)
            #expect(stranger.findings.contains { $0.kind == .checkpoint }, "\(stranger)")
        }
    }

    /// Another loss: the chain of keys goes on from the first to the last.
    @Test func forksOfForks() async throws {
        try await Self.afterLoss { sealed, next, _ in
            _ = try await sealed.successor(next).sealUntilHead()
            let kept = try await sealed.keepSeal()
            try await sealed.fill(50, from: 6000)
            _ = try await sealed.sealer(next, record: "next").sealUntilHead()
            try await sealed.restoreSeal(kept)
            try await sealed.ledger.lose(after: 490)
            try await sealed.fill(10, from: 7000)
            let third = try SealKey(name: "test/third/\(try await sealed.ledger.store.epoch().text)")
            let sealer = sealed.sealer(
                third, record: "third",
                afterLossOf: EndedSeal(key: next, record: SealerRecord(path: sealed.recordPath("next"))))
            #expect(try await sealer.sealUntilHead() == 500)
            let answer = try await sealed.verify(key: sealed.key.verifier)
            #expect(answer.findings == [] && answer.forks.map(\.lost) == [451...600, 491...530], "\(answer)")
            #expect(KnownLoss.count(try await sealed.ledger.store.knownLosses()) == 150 + 40)
        }
    }

    /// The new key has sealed already: the statement comes late, and says the same.
    @Test func late() async throws {
        try await Self.afterLoss { sealed, next, _ in
            #expect(try await sealed.sealer(next, record: "next").sealUntilHead() == 480)
            #expect(try await sealed.verify(key: sealed.key.verifier).findings.contains { $0.kind == .checkpoint })
            _ = try await sealed.successor(next).sealUntilHead()
            let fork = try #require(try await sealed.forks().first)
            #expect(fork.shared == 450 && fork.proof != nil && fork.problem == nil)
            #expect(try await sealed.verify(key: sealed.key.verifier).findings == [])
        }
    }

    /// Without the hashes of the lost events, the statement goes back to what was signed before.
    @Test func withoutTheLostLeaves() async throws {
        try await Self.afterLoss { sealed, next, _ in
            try FileManager.default.removeItem(atPath: sealed.recordPath + ".leaves")
            #expect(try await sealed.successor(next).sealUntilHead() == 480)
            let fork = try #require(try await sealed.forks().first)
            #expect(fork.shared == 320 && fork.proof == nil && fork.problem == nil)
            #expect(try await sealed.verify(key: sealed.key.verifier).findings == [])
        }
    }

    /// What is left must be what was sealed: a history that was rewritten is not signed as a loss.
    @Test(arguments: [100, 400]) func aRewrittenHistory(position: Position) async throws {
        try await Self.afterLoss { sealed, next, _ in
            try await sealed.tamper("UPDATE events SET data = '{\"completed\":77}' WHERE position = \(position)")
            let sealer = sealed.successor(next)
            if position > 320 {
                let error = await #expect(throws: SealStopped.self) { try await sealer.sealUntilHead() }
                #expect("\(try #require(error))".contains("are not those that were signed"))
                #expect(try await sealed.forks() == [])
            } else {
                // The sealer does not read again what the tree in the ledger has: verification
                // does.
                _ = try await sealer.sealUntilHead()
                #expect(try await sealed.verify(key: next.verifier).findings.map(\.brief) == ["altered 100"])
            }
        }
    }

    /// Nothing was lost, or nothing was signed: then there is no fork to sign.
    @Test func noFork() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(20)
            let next = try SealKey(name: "test/next/\(try await sealed.ledger.store.epoch().text)")
            let unsigned = await #expect(throws: SealStopped.self) { try await sealed.successor(next).sealUntilHead() }
            #expect("\(try #require(unsigned))".contains("has nothing that the key"))
            _ = try await sealed.sealer().sealUntilHead()
            try await sealed.ledger.beginEpoch()
            let later = try SealKey(name: "test/later/\(try await sealed.ledger.store.epoch().text)")
            let whole = await #expect(throws: SealStopped.self) { try await sealed.successor(later).sealUntilHead() }
            #expect("\(try #require(whole))".contains("has all 20 events"))
            #expect(try await sealed.forks() == [])
        }
    }

    /// A statement that was altered, or that is of another log, is a finding.
    @Test func falseStatements() async throws {
        try await Self.afterLoss { sealed, next, _ in
            _ = try await sealed.successor(next).sealUntilHead()
            let fork = try #require(try await sealed.forks().first)
            for (from, to) in [
                ("shared 450", "shared 449"), ("size 600", "size 601"), ("proof ", "proof A"),
                ("jobledger/seal-fork/v1", "jobledger/seal-fork/v2"),
            ] {
                let text = fork.text.replacing(from, with: to, maxReplacements: 1)
                try await sealed.tamper(
                    """
                    ALTER TABLE seal_forks DISABLE TRIGGER ALL; UPDATE seal_forks SET note = '\(text)';
                    ALTER TABLE seal_forks ENABLE TRIGGER ALL
                    """)
                let answer = try await sealed.verify(key: next.verifier)
                #expect(answer.findings.map(\.kind) == [.fork], "\(to): \(answer.findings)")
                // The old key does not lead to the new one any more.
                let old = try await sealed.verify(key: sealed.key.verifier)
                #expect(old.findings.contains { $0.kind == .checkpoint }, "\(to): \(old.findings)")
            }
        }
    }

    /// What is written is read again, and nothing else is.
    @Test func text() async throws {
        try await Self.afterLoss { sealed, next, _ in
            _ = try await sealed.successor(next).sealUntilHead()
            let fork = try #require(try await sealed.forks().first)
            #expect(try SealFork(fork.text) == fork)
            let lines = fork.text.split(separator: "\n", omittingEmptySubsequences: false)
            for index in lines.indices.dropLast(3) {
                var fewer = lines
                fewer.remove(at: index)
                let read = try? SealFork(fewer.joined(separator: "\n"))
                #expect(read == nil || read?.problem != nil, "without line \(index): \(lines[index])")
            }
        }
    }
}

/// The tables of the seal at a moment.
struct KeptSeal: Sendable {
    var size: Position
    var edge: String
}

extension SealedLedger {
    func recordPath(_ name: String) -> String { directory.appending(path: name).path }

    func sealer(_ key: SealKey, record: String, afterLossOf ended: EndedSeal? = nil) -> Sealer {
        Sealer(
            key: key, record: SealerRecord(path: recordPath(record)), url: ledger.url, ledger: ledger.name,
            interval: .zero, afterLossOf: ended, logger: .init(label: "test"))
    }

    /// A sealer with the key that goes on after the ledger's own key.
    func successor(_ next: SealKey) -> Sealer {
        sealer(next, record: "next", afterLossOf: EndedSeal(key: key, record: SealerRecord(path: recordPath)))
    }

    func forks() async throws -> [SealFork] {
        try await ledger.store.pool.withConnection { connection in
            try await connection.query("SELECT note FROM seal_forks ORDER BY signed_at").map {
                try SealFork(try $0.decode(0, as: String.self))
            }
        }
    }

    func keepSeal() async throws -> KeptSeal {
        try await ledger.store.pool.withConnection {
            let row = try await $0.query("SELECT size, encode(edge, 'hex') FROM seal").only()
            return KeptSeal(size: try row.decode(0), edge: try row.decode(1))
        }
    }

    /// Makes the ledger forget the epoch that it has now.
    func loseLastEpoch() async throws {
        try await tamper(
            """
            ALTER TABLE epochs DISABLE TRIGGER epochs_only_grow;
            DELETE FROM epochs WHERE number = (SELECT max(number) FROM epochs);
            ALTER TABLE epochs ENABLE ALWAYS TRIGGER epochs_only_grow;
            UPDATE ledger SET epoch = (SELECT epoch FROM epochs ORDER BY number DESC LIMIT 1)
            """)
    }

    /// Makes the seal what it is on a server that did not receive the rest.
    func restoreSeal(_ kept: KeptSeal) async throws {
        try await tamper(
            """
            DELETE FROM seal_checkpoints WHERE size > \(kept.size);
            DELETE FROM seal_tiles WHERE (number + 1) * (256::numeric ^ (level + 1)) > \(kept.size);
            UPDATE seal SET size = \(kept.size), edge = decode('\(kept.edge)', 'hex')
            """)
    }
}
