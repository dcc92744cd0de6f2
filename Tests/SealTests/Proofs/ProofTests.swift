import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing
import TransparencyLog

@testable import Seal

struct ProofTests {
    /// A proof of each event can be read from its text and checked, and no part of it can be
    /// changed.
    @Test func everyEvent() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(530)
            _ = try await sealed.sealer().sealUntilHead()
            let seal = SealProofs(sealed.ledger.store)
            let checkpoint = try #require(try await seal.checkpoint())
            for position in Array(1...530).filter({ $0 < 20 || $0 % 37 == 0 || $0 > 510 }) {
                let proof = try #require(try await seal.proof(of: .position(Position(position))))
                #expect(proof.proof.checkpoint == checkpoint)
                let again = try #require(try EventProof.list(proof.text).first)
                #expect(again == proof)
                try again.check(by: sealed.key.verifier)
                let byID = try await seal.proof(of: #require(EventReference(proof.event.eventID)))
                #expect(byID == proof)
                // A proof holds with hashes instead of the texts, too.
                let withheld = try #require(try await seal.proof(of: .position(Position(position)), isWithheld: true))
                #expect(withheld.event.data == nil && withheld.event.metadata == nil)
                try withheld.check(by: sealed.key.verifier)
            }
            let proof = try #require(try await seal.proof(of: .position(77)))
            let changes: [(inout SealedEvent) -> Void] = [
                { $0.position += 1 }, { $0.streamID = "\($0.streamID)x" }, { $0.category = "x" }, { $0.version += 1 },
                { $0.type = "failed" },
                { $0.data = ($0.data ?? "") + " " }, { $0.metadata = #"{"actor":"eve"}"# },
                { $0.recordedAt = "2026-01-01T00:00:00Z" },
                { $0.occurredAt = $0.occurredAt == nil ? "2026-01-01T00:00:00Z" : nil }, { $0.total += 1 },
                { $0.completed = ($0.completed ?? 0) + 1 }, { $0.eventID = EventID.version7().text },
            ]
            for (number, change) in changes.enumerated() {
                var forged = proof
                change(&forged.event)
                #expect(throws: EventProof.NotProved.self, "change \(number)") {
                    try forged.check(by: sealed.key.verifier)
                }
            }
            let stranger = try SealKey(name: sealed.key.name)
            #expect(throws: SignedCheckpoint.NotSigned.self) { try proof.check(by: stranger.verifier) }
        }
    }

    /// JSON that another reader could understand in a different way is refused, and so is anything
    /// that the seal does not cover.
    @Test func nothingBesideTheEvent() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(3)
            _ = try await sealed.sealer().sealUntilHead()
            let proof = try #require(try await SealProofs(sealed.ledger.store).proof(of: .position(2)))
            let json = String(decoding: proof.proof.extra, as: UTF8.self)
            #expect(try EventProof.list(proof.text) == [proof])
            for forged in [
                json.replacing("\"data\":", with: #""data":"{\"forged\":1}","data":"#),
                json.dropLast() + #","data":"{}"}"#,
                json.dropLast() + #","d\u0061ta":"{}"}"#, json.dropLast() + #","actor":"mallory"}"#,
                json.dropLast() + #","data_sha256":null,"data_sha256":null}"#,
            ] {
                var changed = proof.proof
                changed.extra = Array(forged.utf8)
                #expect(throws: Malformed.self, "\(forged)") { try EventProof.list(changed.text) }
            }
        }
    }

    /// A pipe or a device may never end, so no checkpoint is read from it.
    @Test func aCheckpointIsInARegularFile() async throws {
        try await SealedLedger.with { sealed in
            let pipe = sealed.directory.appending(path: "pipe").path
            #expect(mkfifo(pipe, 0o600) == 0)
            for path in [pipe, sealed.directory.path] {
                #expect(throws: CheckpointFile.Failure.self, "\(path)") { try CheckpointFile(path: path).load() }
            }
        }
    }

    /// A checkpoint in memory that the key has not signed is refused.
    @Test func aForgedMemoryIsNoHistory() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(5)
            _ = try await sealed.sealer().sealUntilHead()
            let seal = SealProofs(sealed.ledger.store)
            let checkpoint = try #require(try await seal.checkpoint())
            let file = sealed.directory.appending(path: "anchor").path
            let forged = checkpoint.text.replacing("\n5\n", with: "\n4\n")
            #expect(forged != checkpoint.text)
            try Data(forged.utf8).write(to: URL(filePath: file))
            let witness = Witness(key: sealed.key.verifier, memory: CheckpointFile(path: file))
            await #expect(throws: SignedCheckpoint.NotSigned.self) { try await witness.look(at: seal) }
            #expect(try String(contentsOfFile: file, encoding: .utf8) == forged)
        }
    }

    @Test func notSealedYet() async throws {
        try await SealedLedger.with { sealed in
            let seal = SealProofs(sealed.ledger.store)
            #expect(try await seal.checkpoint() == nil)
            await #expect(throws: SealProofs.NotSealed.self) { try await seal.update(from: 0) }
            #expect(try await seal.proof(of: .position(1)) == nil)
            try await sealed.fill(10)
            await #expect(throws: SealProofs.NotSealed.self) { try await seal.proof(of: .position(1)) }
            _ = try await sealed.sealer().sealUntilHead()
            try await sealed.fill(10, from: 10)
            let error = await #expect(throws: SealProofs.NotSealed.self) { try await seal.proof(of: .position(11)) }
            #expect(error?.size == 10 && error?.description.contains("up to position 10") == true)
            #expect(try await seal.tile(Tile(level: 0, number: 0), width: 10)?.count == 320)
            #expect(try await seal.tile(Tile(level: 0, number: 0), width: 11) == nil)
            #expect(try await seal.entries(0, width: 11) == nil)
        }
    }

    /// There is no proof of an event that was altered: proving it fails with an error.
    @Test func touched() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(30)
            _ = try await sealed.sealer().sealUntilHead()
            try await sealed.tamper("UPDATE events SET metadata = '{\"actor\":\"eve\"}' WHERE position = 12")
            let seal = SealProofs(sealed.ledger.store)
            let error = await #expect(throws: SealDamaged.self) { try await seal.proof(of: .position(12)) }
            #expect(error?.description.contains("position 12 is not what was sealed") == true)
            let job = StreamKey(.job, "job 1 ä\u{1F680}")
            await #expect(throws: SealDamaged.self) { try await seal.proofs(ofStream: job) }
            try (try await seal.proof(of: .position(13)))?.check(by: sealed.key.verifier)
        }
    }

    /// Consistency is proved between the last checkpoint and each one before it.
    @Test func consistency() async throws {
        try await SealedLedger.with { sealed in
            for number in 0..<12 {
                try await sealed.fill(10 * (number % 5 + 1), from: number * 100)
                _ = try await sealed.sealer().sealUntilHead()
            }
            let seal = SealProofs(sealed.ledger.store)
            let checkpoints = try await sealed.checkpoints()
            #expect(checkpoints.count == 12)
            for old in checkpoints {
                let update = try CheckpointUpdate(try await seal.update(from: old.head.size).text)
                #expect(update.checkpoint == checkpoints.last)
                #expect(update.continues(old.head))
                var other = old.head
                other.root = .leaf([1])
                #expect(!update.continues(other))
            }
            #expect(try await seal.update(from: 0).proof.hashes.isEmpty)
        }
    }

    /// The proofs of a job are its whole history, or its history so far. No event can be left out.
    @Test func jobs() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(45)
            _ = try await sealed.sealer().sealUntilHead()
            let seal = SealProofs(sealed.ledger.store)
            let ended = StreamKey(.job, "job 2 ä\u{1F680}")
            let open = StreamKey(.job, "job 4 ä\u{1F680}")
            let whole = try EventProof.list(try await seal.proofs(ofStream: ended).map(\.text).joined())
            for proof in whole { try proof.check(by: sealed.key.verifier) }
            #expect(try StreamProof.extent(whole) == (ended, .whole))
            let part = try await seal.proofs(ofStream: open)
            #expect(try StreamProof.extent(part) == (open, .upTo(45)))
            #expect(try StreamProof.extent(Array(whole.dropLast())).1 == .upTo(29))
            for missing in whole.indices.dropLast() {
                var proofs = whole
                proofs.remove(at: missing)
                #expect(throws: EventProof.NotProved.self, "without \(missing)") { try StreamProof.extent(proofs) }
            }
            #expect(throws: EventProof.NotProved.self) { try StreamProof.extent(whole + part) }
            #expect(throws: EventProof.NotProved.self) { try StreamProof.extent(whole + [whole[9]]) }
            #expect(throws: EventProof.NotProved.self) { try StreamProof.extent([]) }
            try await sealed.fill(5, from: 45)
            _ = try await sealed.sealer().sealUntilHead()
            let later = try #require(try await seal.proof(of: .position(30)))
            #expect(throws: EventProof.NotProved.self) { try StreamProof.extent(whole.dropLast() + [later]) }
            #expect(try await seal.proofs(ofStream: StreamKey(.job, "no such job")).isEmpty)
        }
    }

    /// The proofs of another stream are all its events so far, never its whole life: nothing proves
    /// which types end it. A job with the same id is another stream.
    @Test func streamsOfOtherCategories() async throws {
        try await SealedLedger.with { sealed in
            let owner = try await sealed.ledger.connect()
            try await TestCategories.install(on: owner)
            await owner.close()
            let store = sealed.ledger.store
            let user = StreamKey(try #require(Category("user")), "x")
            _ = try await store.append(NewEvent(type: "registered"), to: user.id, of: user.category)
            try await sealed.ledger.queue("x")
            for type in ["updated", "removed"] {
                _ = try await store.append(NewEvent(type: type), to: user.id, of: user.category)
            }
            _ = try await sealed.sealer().sealUntilHead()
            let seal = SealProofs(store)
            let proofs = try EventProof.list(try await seal.proofs(ofStream: user).map(\.text).joined())
            for proof in proofs { try proof.check(by: sealed.key.verifier) }
            #expect(proofs.map(\.event.position) == [1, 3, 4])
            #expect(try StreamProof.extent(proofs) == (user, .upTo(4)))
            let job = try await seal.proofs(ofStream: StreamKey(.job, "x"))
            #expect(try StreamProof.extent(job) == (StreamKey(.job, "x"), .upTo(2)))
            #expect(throws: EventProof.NotProved.self) { try StreamProof.extent([proofs[0], proofs[2]]) }
            #expect(throws: EventProof.NotProved.self) { try StreamProof.extent([proofs[0]] + job) }
            // In the ledger, the rules that it has now say whether a stream has ended.
            let completeness = StreamCompleteness(store, key: sealed.key.verifier)
            let whole = try await completeness.check(user)
            #expect(whole == StreamCompleteness.Answer(sealed: 4, events: 3, isWhole: true))
            let open = try await completeness.check(StreamKey(.job, "x"))
            #expect(open == StreamCompleteness.Answer(sealed: 4, events: 1, isWhole: false))
        }
    }

    /// Events of two jobs are the history of neither, however similar the job ids look.
    @Test func splicedHistory() async throws {
        try await SealedLedger.with { sealed in
            for job in TwoSpellings.both { try await sealed.ledger.queue(job) }
            for job in TwoSpellings.both { try await sealed.ledger.progress(job, 1) }
            for job in TwoSpellings.both {
                _ = try await sealed.ledger.store.append(NewEvent(type: "finished"), to: job)
            }
            _ = try await sealed.sealer().sealUntilHead()
            let seal = SealProofs(sealed.ledger.store)
            var histories: [[EventProof]] = []
            for job in TwoSpellings.both {
                let stream = StreamKey(.job, job)
                let history = try EventProof.list(try await seal.proofs(ofStream: stream).map(\.text).joined())
                for proof in history { try proof.check(by: sealed.key.verifier) }
                #expect(try StreamProof.extent(history) == (stream, .whole))
                histories.append(history)
            }
            for spliced in [
                [histories[0][0], histories[1][1], histories[0][2]],
                [histories[0][0], histories[0][1], histories[1][2]],
            ] {
                #expect(throws: EventProof.NotProved.self) { try StreamProof.extent(spliced) }
            }
        }
    }

    /// A job with too much data is refused, and can be proved with hashes instead of the data.
    @Test func muchData() async throws {
        try await SealedLedger.with { sealed in
            let store = sealed.ledger.store
            _ = try await store.append(NewEvent(type: "queued", data: #"{"name":"x"}"#), to: "large")
            for completed in 1...9 {
                let data = #"{"completed":\#(completed),"message":"\#(String(repeating: "x", count: 7_900_000))"}"#
                _ = try await store.append(NewEvent(type: "progress", data: data), to: "large")
            }
            _ = try await sealed.sealer().sealUntilHead()
            let seal = SealProofs(store)
            let large = StreamKey(.job, "large")
            let error = await #expect(throws: SealProofs.TooMuch.self) { try await seal.proofs(ofStream: large) }
            #expect(error?.description.contains("withhold the data") == true)
            let proofs = try await seal.proofs(ofStream: large, isWithheld: true)
            #expect(proofs.count == 10 && proofs.allSatisfy { $0.event.data == nil })
            for proof in proofs { try proof.check(by: sealed.key.verifier) }
        }
    }

    /// An anchor is a witness with a file. It keeps the checkpoint when the ledger is restored from
    /// an older backup.
    @Test func anchor() async throws {
        try await SealedLedger.with { sealed in
            let file = CheckpointFile(path: sealed.directory.appending(path: "anchor").path)
            let witness = Witness(key: sealed.key.verifier, memory: file)
            let seal = SealProofs(sealed.ledger.store)
            #expect(try await witness.look(at: seal) == nil)
            try await sealed.fill(100)
            _ = try await sealed.sealer().sealUntilHead()
            try await witness.look(at: seal)
            try await sealed.tamper(
                "CREATE TABLE old_seal AS SELECT * FROM seal; CREATE TABLE old_events AS SELECT * FROM events")
            try await sealed.fill(30, from: 100)
            _ = try await sealed.sealer().sealUntilHead()
            #expect(try await witness.look(at: seal)?.head.size == 130)
            try await sealed.tamper(
                """
                DELETE FROM events WHERE position > 100;
                DELETE FROM seal_checkpoints WHERE size > 100;
                UPDATE seal SET size = 100, edge = (SELECT edge FROM old_seal)
                """)
            let error = await #expect(throws: HistoryRewritten.self) { try await witness.look(at: seal) }
            #expect(error?.description.contains("100 events are sealed, but 130 were before") == true)
            #expect(try file.load()?.head.size == 130)
            try Data("nonsense".utf8).write(to: URL(fileURLWithPath: file.path))
            await #expect(throws: CheckpointFile.Failure.self) { try await witness.look(at: seal) }
        }
    }
}
