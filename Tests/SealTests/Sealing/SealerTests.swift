import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing
import TransparencyLog

@testable import Seal

@Suite struct SealerTests {
    /// A sealer seals every event, whatever the window. Each checkpoint has the root over the
    /// leaves that docs/audit.md describes.
    @Test(arguments: [1, 7, 256, 65_536])
    func sealsTheLog(window: Int) async throws {
        try await SealedLedger.with { sealed in
            let sizes = window == 1 ? [3, 20, 7] : [1, 255, 1, 600, 3]
            var first = 0
            for size in sizes {
                let head = try await sealed.fill(size, from: first)
                first += size
                #expect(try await sealed.sealer(window: window).sealUntilHead() == head)
                #expect(try await sealed.state().size == head)
            }
            let leaves = try await sealed.leaves()
            let roots = roots(leaves)
            let checkpoints = try await sealed.checkpoints()
            #expect(checkpoints.last?.head.size == Int64(leaves.count))
            #expect(checkpoints.count >= sizes.count)
            for checkpoint in checkpoints {
                try checkpoint.verify(by: sealed.key.verifier)
                #expect(checkpoint.head.root == roots[Int(checkpoint.head.size)])
            }
            try await sealed.checkTiles(leaves)
        }
    }

    /// Sealers start and stop, two at a time, while events come from several appenders. The seal is
    /// complete and right in the end, and each checkpoint is the work of one sealer.
    @Test func sealersComeAndGo() async throws {
        try await SealedLedger.with { sealed in
            let noted = (0..<16).map { _ in SealedPositions() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { for number in 0..<20 { try await sealed.fill(50, from: number * 50) } }
                group.addTask { for number in 0..<20 { try await sealed.fill(30, from: 10_000 + number * 30) } }
                group.addTask {
                    for pair in 0..<8 {
                        let sealers = noted[2 * pair..<2 * pair + 2].map { noted in
                            Task { await sealed.sealer(window: 100, leaseTimes: .kept, noting: noted).run() }
                        }
                        let size = try await sealed.state().size
                        // Until these two have sealed something, or everything is sealed.
                        _ = try await eventually("they seal") {
                            let now = try await sealed.state().size
                            return now > size || now == 1600 ? true : nil
                        }
                        for sealer in sealers { sealer.cancel() }
                        for sealer in sealers { await sealer.value }
                    }
                }
                try await group.waitForAll()
            }
            let last = SealedPositions()
            #expect(try await sealed.sealer(noting: last).sealUntilHead() == 1600)
            let sizes = try await sealed.checkpoints().map(\.head.size)
            // A sealer that is cancelled right after its commit does not report it.
            let reported = (noted + [last]).flatMap(\.positions)
            #expect(Set(reported).count == reported.count && Set(sizes).isSuperset(of: reported))
            #expect(Set(sizes).count == sizes.count)
            let leaves = try await sealed.leaves()
            let roots = roots(leaves)
            for checkpoint in try await sealed.checkpoints() {
                #expect(checkpoint.head.root == roots[Int(checkpoint.head.size)])
            }
            try await sealed.checkTiles(leaves)
        }
    }

    /// Of several sealers one works. When it stops, one of the others takes over, and the lease
    /// changes hands once.
    @Test func takeOver() async throws {
        try await SealedLedger.with { sealed in
            let noted = (0..<3).map { _ in SealedPositions() }
            var running = noted.map { noted in
                Task { await sealed.sealer(leaseTimes: .kept, noting: noted).run() }
            }
            func working() -> [Int] { noted.indices.filter { !noted[$0].positions.isEmpty } }
            for number in 0..<5 { try await sealed.waitUntilSealed(try await sealed.fill(10, from: number * 10)) }
            let first = working()
            #expect(first.count == 1)
            let before = try #require(try await sealed.ledger.holding(of: Sealer.lease))
            let stopped = running.remove(at: first[0])
            stopped.cancel()
            await stopped.value
            let sealedByFirst = noted[first[0]].positions
            for number in 5..<10 { try await sealed.waitUntilSealed(try await sealed.fill(10, from: number * 10)) }
            #expect(working().count == 2 && noted[first[0]].positions == sealedByFirst)
            let after = try #require(try await sealed.ledger.holding(of: Sealer.lease))
            #expect(after.holder != before.holder && after.fence == before.fence + 1)
            for sealer in running { sealer.cancel() }
            for sealer in running { await sealer.value }
        }
    }

    /// The key is changed back and forth while nothing is appended: the last checkpoint is always
    /// signed by the key in use.
    @Test func keysComeBack() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(10)
            let other = try SealKey(name: sealed.key.name)
            for key in [sealed.key, other, sealed.key, other, sealed.key] {
                // A clock that is set back meanwhile changes nothing: the last checkpoint stays
                // last.
                try await sealed.tamper("UPDATE seal_checkpoints SET sealed_at = sealed_at + interval '1 hour'")
                #expect(try await sealed.sealer(key).sealUntilHead() == 10)
                let last = try #require(try await sealed.state().last)
                try last.checkpoint.verify(by: key.verifier)
            }
            #expect(try await sealed.checkpoints().map(\.head.size) == [10, 10, 10, 10, 10])
            try await sealed.fill(10, from: 10)
            #expect(try await sealed.sealer().sealUntilHead() == 20)
        }
    }

    /// A running sealer seals the events that come.
    @Test func sealsWhatComes() async throws {
        try await SealedLedger.with { sealed in
            let sealer = Task { await sealed.sealer().run() }
            for number in 0..<5 { try await sealed.waitUntilSealed(try await sealed.fill(10, from: number * 10)) }
            sealer.cancel()
            await sealer.value
            // It has given up the lease, so the next sealer begins at once.
            let again = Task { await sealed.sealer().run() }
            try await sealed.waitUntilSealed(try await sealed.fill(1, from: 100))
            again.cancel()
            await again.value
        }
    }

    // MARK: What is not signed

    /// The database is rolled back to before what the sealer has signed.
    @Test func rolledBack() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(300)
            _ = try await sealed.sealer().sealUntilHead()
            try await sealed.tamper(
                """
                DELETE FROM events WHERE position > 200;
                DELETE FROM seal_tiles; DELETE FROM seal_checkpoints; UPDATE seal SET size = 0, edge = ''
                """)
            let error = await #expect(throws: SealStopped.self) { try await sealed.sealer().sealUntilHead() }
            #expect("\(try #require(error))".contains("the log ends at position 200, but 300 events have been signed"))
            #expect(try await sealed.checkpoints().isEmpty)
            // Other events in place of the lost ones do not help.
            try await sealed.fill(200, from: 1000)
            let other = await #expect(throws: SealStopped.self) { try await sealed.sealer().sealUntilHead() }
            #expect("\(try #require(other))".contains("the history was rewritten"))
            #expect(try await sealed.checkpoints().isEmpty)
        }
    }

    /// The history was rewritten and sealed again by somebody else, with tiles and edge.
    @Test func rewritten() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(300)
            _ = try await sealed.sealer().sealUntilHead()
            let record = try Data(contentsOf: URL(filePath: sealed.recordPath))
            try await sealed.tamper(
                """
                UPDATE events SET data = '{"completed":5}' WHERE position = 7;
                DELETE FROM seal_tiles; DELETE FROM seal_checkpoints; UPDATE seal SET size = 0, edge = ''
                """)
            try FileManager.default.removeItem(atPath: sealed.recordPath)
            let thief = try SealKey(name: sealed.key.name)
            _ = try await sealed.sealer(thief).sealUntilHead()
            try record.write(to: URL(filePath: sealed.recordPath))
            try await sealed.fill(10, from: 1000)
            let error = await #expect(throws: SealStopped.self) { try await sealed.sealer().sealUntilHead() }
            #expect("\(try #require(error))".contains("the history was rewritten"))
        }
    }

    /// A sealer was killed between the signature and the commit: the next one seals the same again
    /// and goes on.
    @Test func killedBeforeTheCommit() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(300)
            _ = try await sealed.sealer(window: 200).sealUntilHead()
            try await sealed.tamper(
                """
                DELETE FROM seal_checkpoints; DELETE FROM seal_tiles; UPDATE seal SET size = 0, edge = ''
                """)
            try await sealed.fill(100, from: 1000)
            #expect(try await sealed.sealer(window: 70).sealUntilHead() == 400)
            let roots = roots(try await sealed.leaves())
            for checkpoint in try await sealed.checkpoints() {
                #expect(checkpoint.head.root == roots[Int(checkpoint.head.size)])
            }
        }
    }

    /// A new epoch that lost nothing that was sealed, as after a switchover: the key goes on, also
    /// over several of them. A key that has signed nothing is for its own epoch only.
    @Test func aNewEpochThatLostNothing() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(30)
            _ = try await sealed.sealer().sealUntilHead()
            for epoch: Position in 1...2 {
                try await sealed.ledger.beginEpoch()
                try await sealed.fill(10, from: Int(1000 * epoch))
                #expect(try await sealed.sealer().sealUntilHead() == 30 + 10 * epoch)
                try #require(try await sealed.state().last?.checkpoint).verify(by: sealed.key.verifier)
            }
            try await sealed.checkTiles(try await sealed.leaves())
            let unused = try SealKey(name: "test/x/\(EventID.version7().text)")
            let error = await #expect(throws: SealStopped.self) { try await sealed.sealer(unused).sealUntilHead() }
            #expect("\(try #require(error))".contains("is for another epoch"))
        }
    }

    /// A new epoch begins under a sealer at work, which has not looked at the epoch since. It signs
    /// nothing of the new epoch as of the old one, and goes on.
    @Test func anEpochThatBeginsUnderASealer() async throws {
        try await SealedLedger.with { sealed in
            let sealer = Task { await sealed.sealer().run() }
            try await sealed.waitUntilSealed(try await sealed.fill(10))
            for number in 1...3 {
                try await sealed.ledger.beginEpoch()
                let head = try await sealed.fill(10, from: 100 * number)
                let state = try await eventually("the sealer goes on, or stops") {
                    let state = try await sealed.state()
                    return state.size >= head || state.stopped != nil ? state : nil
                }
                #expect(state.stopped == nil && state.size == head)
            }
            sealer.cancel()
            await sealer.value
        }
    }

    /// A new epoch lost events that were sealed, so the key stops, and a new one goes on.
    @Test func aNewEpochThatLostEvents() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(20)
            _ = try await sealed.sealer().sealUntilHead()
            // What a server has that did not receive the rest.
            let (size, edge): (Position, PostgresBytes) = try await sealed.ledger.store.pool.withConnection {
                let row = try await $0.query("SELECT size, edge FROM seal").only()
                return (try row.decode(0), try row.decode(1))
            }
            let hex = edge.bytes.map { String(format: "%02x", $0) }.joined()
            try await sealed.fill(10, from: 1000)
            _ = try await sealed.sealer().sealUntilHead()
            try await sealed.tamper(
                """
                DELETE FROM seal_checkpoints WHERE size > \(size);
                UPDATE seal SET size = \(size), edge = decode('\(hex)', 'hex')
                """)
            try await sealed.ledger.lose(after: 25)
            try await sealed.fill(10, from: 2000)
            let error = await #expect(throws: SealStopped.self) { try await sealed.sealer().sealUntilHead() }
            #expect("\(try #require(error))".contains("has only the first 25"))
            // The new key signs the log under its own name, and the tree goes on.
            let next = try SealKey(name: "test/x/\(try await sealed.ledger.store.epoch().text)")
            #expect(try await sealed.sealer(next).sealUntilHead() == 35)
            try #require(try await sealed.state().last?.checkpoint).verify(by: next.verifier)
            try await sealed.checkTiles(try await sealed.leaves())
        }
    }

    /// A new key in the same epoch signs the head at once, before the next event comes.
    @Test func anotherKey() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(30)
            _ = try await sealed.sealer().sealUntilHead()
            let next = try SealKey(name: sealed.key.name)
            _ = try await sealed.sealer(next).sealUntilHead()
            try #require(try await sealed.state().last?.checkpoint).verify(by: next.verifier)
            #expect(try await sealed.checkpoints().map(\.head.size) == [30, 30])
        }
    }

    /// A stopped sealer writes the reason to the table where operators look, and goes on by itself
    /// once the reason is gone.
    @Test func stopsAndGoesOn() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(20)
            try await sealed.tamper("UPDATE events SET position = 100 WHERE position = 20")
            let sealer = Task { await sealed.sealer().run() }
            let reason = try await eventually("it stops") { try await sealed.state().stopped }
            #expect(reason.contains("there is no event at position 20, and there is one at 100"))
            try await sealed.tamper("UPDATE events SET position = 20 WHERE position = 100")
            try await sealed.waitUntilSealed(20)
            #expect(try await sealed.state().stopped == nil)
            sealer.cancel()
            await sealer.value
        }
    }

    @Test func damagedTables() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(20)
            _ = try await sealed.sealer().sealUntilHead()
            try await sealed.fill(1, from: 100)
            for (damage, repair, message) in [
                (
                    "UPDATE seal SET edge = set_byte(edge, 5, 255 - get_byte(edge, 5))",
                    "UPDATE seal SET edge = set_byte(edge, 5, 255 - get_byte(edge, 5))", "has another root"
                ),
                (
                    "UPDATE seal SET edge = edge || '\\x00'", "UPDATE seal SET edge = substr(edge, 1, 640)",
                    "does not fit its size"
                ),
                (
                    "UPDATE seal_checkpoints SET size = 19", "UPDATE seal_checkpoints SET size = 20",
                    "the last checkpoint is of 20"
                ),
                (
                    "UPDATE seal_checkpoints SET note = 'x' || note",
                    "UPDATE seal_checkpoints SET note = substr(note, 2)",
                    "it was altered"
                ),
            ] {
                try await sealed.tamper(damage)
                let error = await #expect(throws: SealStopped.self) { try await sealed.sealer().sealUntilHead() }
                #expect("\(try #require(error))".contains(message))
                try await sealed.tamper(repair)
            }
            #expect(try await sealed.sealer().sealUntilHead() == 21)
        }
    }

    /// Nobody can change or remove tiles and checkpoints.
    @Test func onlyGrow() async throws {
        try await SealedLedger.with { sealed in
            try await sealed.fill(300)
            _ = try await sealed.sealer().sealUntilHead()
            let connection = try await sealed.ledger.connect()
            for table in ["seal_tiles", "seal_checkpoints"] {
                for statement in [
                    "DELETE FROM \(table)", "TRUNCATE \(table)",
                    "UPDATE \(table) SET \(table == "seal_tiles" ? "level" : "size") = 1",
                ] {
                    await #expect(throws: PostgresError.self) { try await connection.query(statement) }
                }
            }
            await connection.close()
        }
    }

    /// Nobody but the owner may be able to read the private key.
    @Test func keyFiles() async throws {
        let directory = TestServers.directory("keys")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appending(path: "key").path
        let key = try KeyFile.make(name: "a/b", at: path)
        #expect(try KeyFile.sealKey(at: path).verifier == key.verifier)
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
        #expect(throws: KeyFile.Failure.self) { try KeyFile.make(name: "a/b", at: path) }
        #expect(try KeyFile.verifier(at: path) == key.verifier)
        chmod(path, 0o640)
        #expect(throws: KeyFile.Failure.self) { try KeyFile.sealKey(at: path) }
        #expect(throws: KeyFile.Failure.self) { try KeyFile.sealKey(at: path + "x") }
        let open = directory.appending(path: "vkey").path
        try "\(key.verifier)\n".write(toFile: open, atomically: true, encoding: .utf8)
        #expect(try KeyFile.verifier(at: open) == key.verifier)
        #expect(throws: KeyFile.Failure.self) { try KeyFile.sealKey(at: open) }
        // What is wrong with a private key is not reported as what is wrong with a verifier key.
        let broken = directory.appending(path: "broken").path
        try "\(key.secretText.dropLast(8))\n".write(toFile: broken, atomically: true, encoding: .utf8)
        let error = #expect(throws: KeyFile.Failure.self) { try KeyFile.verifier(at: broken) }
        #expect(error?.description.contains("a private key is PRIVATE+KEY+NAME+ID+KEY") == true)
    }
}

extension SealedLedger {
    /// Checks that the tables have exactly the tiles of the tree over `leaves`.
    func checkTiles(_ leaves: [EventLeaf]) async throws {
        var tiles: [Tile: [MerkleHash]] = [:]
        var edge = CompactRange()
        for leaf in leaves { edge.append(leaf.hash) { tiles[$0] = $1 } }
        let kept = try await ledger.store.pool.withConnection { connection in
            try await connection.query("SELECT level, number, hashes FROM seal_tiles").map { row in
                (
                    Tile(level: try row.decode(0), number: try row.decode(1)),
                    MerkleHash.list(try row.decode(2, as: PostgresBytes.self).bytes)
                )
            }
        }
        #expect(kept.count == tiles.count)
        for (tile, hashes) in kept { #expect(tiles[tile] == hashes) }
        #expect(try await state().edge == edge)
    }
}
