import Foundation
import LedgerCore
import PrivateFiles
package import TransparencyLog

/// A checkpoint and tiles in files, laid out as C2SP's tlog-tiles says: `checkpoint`,
/// `tile/0/x001/234` and so on.
package struct TileDirectory: TileSource {
    package let path: String

    package init(path: String) { self.path = path }

    private func file(_ name: String) -> URL { URL(fileURLWithPath: path, isDirectory: true).appending(path: name) }

    /// - Throws: ``SealDamaged`` where there is none, or none that can be read.
    package func checkpoint() throws(SealDamaged) -> SignedCheckpoint {
        guard let text = try? String(contentsOf: file("checkpoint"), encoding: .utf8) else {
            throw SealDamaged("there is no file \(path)/checkpoint (jobledger audit tiles \(path) writes one)")
        }
        do {
            return try SignedCheckpoint(text)
        } catch {
            throw SealDamaged("\(path)/checkpoint: \(error)")
        }
    }

    /// The checkpoint that is there; `nil` where none is.
    func keptCheckpoint() throws(SealDamaged) -> SignedCheckpoint? {
        // A link that somebody has put there keeps nothing, and is replaced.
        let type =
            try? FileManager.default.attributesOfItem(atPath: file("checkpoint").path)[.type] as? FileAttributeType
        return type == .typeRegular ? try checkpoint() : nil
    }

    func hashes(of tiles: [Tile], treeOf size: Int64) async throws -> [Tile: [MerkleHash]] {
        var hashes: [Tile: [MerkleHash]] = [:]
        for tile in tiles { hashes[tile] = self.hashes(of: tile, width: tile.width(inTreeOf: size)) }
        return hashes.cut(toTreeOf: size)
    }

    /// A full tile serves for a part of it.
    private func hashes(of tile: Tile, width: Int) -> [MerkleHash]? {
        for width in Set([width, Tile.width]) where width > 0 {
            if let data = try? Data(contentsOf: file("tile/" + tile.path(width: width))) {
                return MerkleHash.list(data)
            }
        }
        return nil
    }

    // MARK: Writing

    func has(_ tile: Tile) -> Bool {
        (try? file("tile/" + tile.path()).resourceValues(forKeys: [.fileSizeKey]).fileSize) == Tile.width
            * MerkleHash.size
    }

    func write(_ tile: Tile, _ hashes: [MerkleHash]) throws {
        try write(MerkleHash.bytes(hashes), to: "tile/" + tile.path(width: hashes.count))
    }

    /// Last, so that whoever reads the checkpoint finds its tiles.
    func write(_ checkpoint: SignedCheckpoint) throws { try write(Array(checkpoint.text.utf8), to: "checkpoint") }

    /// A web server may own the directory, and root write into it: no link that is put below it is
    /// followed.
    private func write(_ bytes: [UInt8], to name: String) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        var directory = try DirectoryHandle(path)
        let parts = name.split(separator: "/").map(String.init)
        for part in parts.dropLast() { directory = try directory.directory(part) }
        try directory.publish(bytes, as: parts.last ?? name)
    }
}
