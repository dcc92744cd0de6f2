import Foundation
import LedgerTesting
import PrivateFiles
import Testing
import TransparencyLog

@testable import Seal

/// Tiles and checkpoints in files.
@Suite struct TileDirectoryTests {
    /// The tiles in a directory have the tree at every size, and a verification can use them.
    @Test func treeAtEverySize() async throws {
        try await SealedLedger.with { sealed in
            let directory = TileDirectory(path: sealed.directory.appending(path: "tiles").path)
            let seal = SealProofs(sealed.ledger.store)
            #expect(try await seal.write(to: directory) == nil)
            for (number, count) in [3, 252, 1, 300, 700].enumerated() {
                try await sealed.fill(count, from: number * 1000)
                _ = try await sealed.sealer().sealUntilHead()
                let checkpoint = try #require(try await seal.write(to: directory))
                #expect(try directory.checkpoint() == checkpoint)
                #expect(try await directory.edge(at: checkpoint.head.size)?.root == checkpoint.head.root)
                let answer = try await SealVerification(
                    sealed.ledger.store, key: sealed.key.verifier, directory: directory
                ).run()
                #expect(answer.isClean && answer.position == checkpoint.head.size)
            }
            // Without the seal in the tables, the directory still shows which event was altered.
            try await sealed.tamper(
                """
                UPDATE events SET total = 7 WHERE position = 300;
                DELETE FROM seal_tiles; DELETE FROM seal_checkpoints; DELETE FROM seal
                """)
            let answer = try await SealVerification(sealed.ledger.store, key: sealed.key.verifier, directory: directory)
                .run()
            #expect(answer.findings.map(\.brief) == ["altered 300"])
        }
    }

    /// A tile or checkpoint that cannot be read says nothing about the log: it is an error, and not
    /// taken for a missing one. (A directory in its place cannot be read even by root.)
    @Test func unreadableIsNotMissing() async throws {
        try await SealedLedger.with { sealed in
            let directory = TileDirectory(path: sealed.directory.appending(path: "tiles").path)
            let seal = SealProofs(sealed.ledger.store)
            try await sealed.fill(300)
            _ = try await sealed.sealer().sealUntilHead()
            _ = try await seal.write(to: directory)
            let verification = SealVerification(sealed.ledger.store, key: sealed.key.verifier, directory: directory)
            let tile = directory.path + "/tile/" + Tile(level: 0, number: 0).path()

            try FileManager.default.removeItem(atPath: tile)
            #expect(try await verification.run().findings.map(\.brief) == ["tile 1-256"])
            try FileManager.default.createDirectory(atPath: tile, withIntermediateDirectories: false)
            await #expect(throws: FileFailure.self) { try await verification.run() }
            try FileManager.default.removeItem(atPath: tile)

            let checkpoint = directory.path + "/checkpoint"
            try FileManager.default.removeItem(atPath: checkpoint)
            #expect(throws: SealDamaged.self) { try directory.checkpoint() }
            try FileManager.default.createDirectory(atPath: checkpoint, withIntermediateDirectories: false)
            #expect(throws: FileFailure.self) { try directory.checkpoint() }
            // Nothing is written over a checkpoint that may be of another history.
            await #expect(throws: FileFailure.self) { try await seal.write(to: directory) }
            #expect(!FileManager.default.fileExists(atPath: tile))
        }
    }

    /// Writing follows no link that somebody has put below the directory.
    @Test func noLinkIsFollowed() async throws {
        try await SealedLedger.with { sealed in
            let tiles = sealed.directory.appending(path: "tiles").path
            let victim = sealed.directory.appending(path: "victim").path
            for directory in [tiles, victim] {
                try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            }
            #expect(symlink(victim, tiles + "/tile") == 0)
            try await sealed.fill(3)
            _ = try await sealed.sealer().sealUntilHead()
            let seal = SealProofs(sealed.ledger.store)
            let failure = await #expect(throws: FileFailure.self) {
                try await seal.write(to: TileDirectory(path: tiles))
            }
            #expect(failure?.description.contains("tile is a symbolic link") == true)
            #expect(try FileManager.default.contentsOfDirectory(atPath: victim).isEmpty)
            // A link in place of a file is replaced. Its target stays as it is.
            #expect(unlink(tiles + "/tile") == 0 && symlink(victim + "/none", tiles + "/checkpoint") == 0)
            _ = try await seal.write(to: TileDirectory(path: tiles))
            #expect(try FileManager.default.contentsOfDirectory(atPath: victim).isEmpty)
            #expect(try TileDirectory(path: tiles).checkpoint().head.size == 3)
        }
    }

    /// A directory of tiles is a witness too: another history does not replace the one it has.
    @Test func tilesOfAnotherLogStay() async throws {
        try await SealedLedger.with { sealed in
            let directory = TileDirectory(path: sealed.directory.appending(path: "tiles").path)
            try await sealed.fill(5)
            _ = try await sealed.sealer().sealUntilHead()
            let kept = try #require(try await SealProofs(sealed.ledger.store).write(to: directory))
            try await SealedLedger.with { other in
                try await other.fill(7)
                _ = try await other.sealer().sealUntilHead()
                await #expect(throws: HistoryRewritten.self) {
                    try await SealProofs(other.ledger.store).write(to: directory)
                }
            }
            #expect(try directory.checkpoint() == kept)
        }
    }

    /// Tiles without a checkpoint may be of another log, so they are written again.
    @Test func tilesWithoutACheckpointAreWrittenAnew() async throws {
        try await SealedLedger.with { sealed in
            let directory = TileDirectory(path: sealed.directory.appending(path: "tiles").path)
            try await SealedLedger.with { other in
                try await other.fill(300)
                _ = try await other.sealer().sealUntilHead()
                _ = try await SealProofs(other.ledger.store).write(to: directory)
            }
            try FileManager.default.removeItem(atPath: directory.path + "/checkpoint")
            try await sealed.fill(260)
            _ = try await sealed.sealer().sealUntilHead()
            let seal = SealProofs(sealed.ledger.store)
            _ = try await seal.write(to: directory)
            let tile = Tile(level: 0, number: 0)
            let written = try Data(contentsOf: URL(filePath: directory.path + "/tile/" + tile.path()))
            #expect(try await Array(written) == seal.tile(tile, width: Tile.width))
        }
    }
}
