import Testing
import Texts

@testable import TransparencyLog

/// A witness, and logs that rewrite their history.
struct WitnessTests {
    /// A log that shows a given tree.
    private struct Shown: SealedLog {
        var tree: TiledTree
        var key: SealKey

        func checkpoint() throws -> SignedCheckpoint? {
            let head = TreeHead(origin: key.name, size: tree.edge.size, root: tree.edge.root)
            return tree.edge.size == 0 ? nil : try SignedCheckpoint(head, signedBy: key)
        }

        func update(from size: Int64) throws -> CheckpointUpdate {
            CheckpointUpdate(
                oldSize: size, proof: tree.consistency(size, tree.edge.size), checkpoint: try #require(try checkpoint())
            )
        }

        /// - Parameter first: from this leaf on, the leaves differ from those of other logs.
        init(_ size: Int, key: SealKey, otherFrom first: Int? = nil) {
            (tree, self.key) = (TiledTree(), key)
            for number in 0..<size {
                tree.append(.leaf(Array("leaf \(number)\(number >= first ?? .max ? "!" : "")".utf8)))
            }
        }
    }

    private actor Memory: WitnessMemory {
        private(set) var checkpoint: SignedCheckpoint?
        func load() -> SignedCheckpoint? { checkpoint }
        func save(_ checkpoint: SignedCheckpoint) { self.checkpoint = checkpoint }
        func put(_ checkpoint: SignedCheckpoint?) { self.checkpoint = checkpoint }
        init() {}
    }

    private let key: SealKey

    init() throws { key = try SealKey(name: "ledger/a") }

    @Test func honest() async throws {
        let memory = Memory()
        let witness = Witness(key: key.verifier, memory: memory)
        #expect(try await witness.look(at: Shown(0, key: key)) == nil)
        for size in [1, 1, 2, 3, 64, 64, 65, 255, 256, 257, 700] {
            #expect(try await witness.look(at: Shown(size, key: key))?.head.size == Int64(size))
            #expect(await memory.checkpoint?.head.size == Int64(size))
        }
        // Another witness continues with the same memory.
        #expect(try await Witness(key: nil, memory: memory).look(at: Shown(701, key: key))?.head.size == 701)
    }

    /// A log that was rewritten, cut off, replaced or emptied is found out, and the witness keeps
    /// the checkpoint it has seen.
    @Test func rewritten() async throws {
        let memory = Memory()
        let witness = Witness(key: nil, memory: memory)
        try await witness.look(at: Shown(300, key: key))
        let another = try SealKey(name: "ledger/b")
        for (log, message) in [
            (Shown(400, key: key, otherFrom: 0), "rewritten"), (Shown(301, key: key, otherFrom: 299), "rewritten"),
            (Shown(300, key: key, otherFrom: 150), "rewritten"), (Shown(299, key: key), "cut off"),
            (Shown(0, key: key), "nothing"),
            (Shown(400, key: another), "another"),
        ] {
            let error = await #expect(throws: HistoryRewritten.self) { try await witness.look(at: log) }
            #expect(error?.description.contains(message) == true, "\(String(describing: error))")
            #expect(await memory.checkpoint?.head.size == 300)
        }
        // What comes after the checkpoint may be anything.
        #expect(try await witness.look(at: Shown(400, key: key, otherFrom: 300))?.head.size == 400)
    }

    /// A memory that has lost the checkpoint, or returns an older one, does not make a running
    /// witness forget it.
    @Test func aMemoryThatForgets() async throws {
        let memory = Memory()
        let witness = Witness(key: nil, memory: memory)
        try await witness.look(at: Shown(100, key: key))
        let older = await memory.checkpoint
        try await witness.look(at: Shown(300, key: key))
        for lost in [nil, older] {
            await memory.put(lost)
            let error = await #expect(throws: HistoryRewritten.self) {
                try await witness.look(at: Shown(400, key: key, otherFrom: 200))
            }
            #expect(error?.description.contains("rewritten") == true, "\(String(describing: error))")
            await #expect(throws: HistoryRewritten.self) { try await witness.look(at: Shown(200, key: key)) }
            await #expect(throws: HistoryRewritten.self) { try await witness.look(at: Shown(0, key: key)) }
            #expect(await memory.checkpoint?.head.size == lost?.head.size)
            // The checkpoint is saved again.
            try await witness.look(at: Shown(300, key: key))
            #expect(await memory.checkpoint?.head.size == 300)
        }
        // A checkpoint that another witness has saved meanwhile counts as well.
        try await Witness(key: nil, memory: memory).look(at: Shown(500, key: key))
        await #expect(throws: HistoryRewritten.self) { try await witness.look(at: Shown(400, key: key)) }
        #expect(try await witness.look(at: Shown(600, key: key))?.head.size == 600)
    }

    @Test func signedByAnother() async throws {
        let memory = Memory()
        let witness = Witness(key: key.verifier, memory: memory)
        let thief = try SealKey(name: key.name)
        await #expect(throws: SignedCheckpoint.NotSigned.self) { try await witness.look(at: Shown(3, key: thief)) }
        #expect(await memory.checkpoint == nil)
        try await witness.look(at: Shown(3, key: key))
        await #expect(throws: SignedCheckpoint.NotSigned.self) { try await witness.look(at: Shown(5, key: thief)) }
        await #expect(throws: SignedCheckpoint.NotSigned.self) { try await witness.look(at: Shown(3, key: thief)) }
        #expect(await memory.checkpoint?.head.size == 3)
    }
}
