import Foundation
import LedgerCore
import PrivateFiles
package import TransparencyLog

/// A checkpoint and its tiles in files, laid out as C2SP's tlog-tiles says: `checkpoint`,
/// `tile/0/x001/234` and so on.
///
/// A file that cannot be read is not a missing one: it throws `FileFailure`, because it says
/// nothing about the tree.
package struct TileDirectory: TileSource {
    package let path: String

    package init(path: String) { self.path = path }

    private static let checkpointName = "checkpoint"

    private static func name(of tile: Tile, width: Int = Tile.width) -> String { "tile/" + tile.path(width: width) }

    // MARK: Reading

    /// - Throws: ``SealDamaged`` where there is no checkpoint, or none that makes sense;
    ///   `FileFailure` where it cannot be read.
    package func checkpoint() throws -> SignedCheckpoint {
        guard let bytes = try contents(of: Self.checkpointName) else {
            throw SealDamaged("there is no file \(path)/checkpoint (jobledger audit tiles \(path) writes one)")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw SealDamaged("\(path)/checkpoint is not UTF-8")
        }
        do {
            return try SignedCheckpoint(text)
        } catch {
            throw SealDamaged("\(path)/checkpoint: \(error)")
        }
    }

    /// The checkpoint that an earlier run has written; `nil` where there is none. A symbolic link
    /// in its place is no checkpoint: the next one replaces it.
    func keptCheckpoint() throws -> SignedCheckpoint? {
        let status = try status(of: Self.checkpointName, followingLinks: false)
        return status.map { $0.st_mode & S_IFMT == S_IFLNK } ?? true ? nil : try checkpoint()
    }

    func hashes(of tiles: [Tile], treeOf size: Int64) async throws -> [Tile: [MerkleHash]] {
        var hashes: [Tile: [MerkleHash]] = [:]
        for tile in tiles { hashes[tile] = try self.hashes(of: tile, width: tile.width(inTreeOf: size)) }
        return hashes.cut(toTreeOf: size)
    }

    /// The tile may be full by now. A full one begins with the hashes of the partial one.
    private func hashes(of tile: Tile, width: Int) throws(FileFailure) -> [MerkleHash]? {
        for width in Set([width, Tile.width]) where width > 0 {
            if let bytes = try contents(of: Self.name(of: tile, width: width)) { return MerkleHash.list(bytes) }
        }
        return nil
    }

    /// Whether a full tile is there, as far as its size tells.
    func has(_ tile: Tile) throws(FileFailure) -> Bool {
        guard let status = try status(of: Self.name(of: tile), followingLinks: false) else { return false }
        return status.st_mode & S_IFMT == S_IFREG && status.st_size == Tile.width * MerkleHash.size
    }

    /// - Returns: `nil` where there is no such file.
    private func contents(of name: String) throws(FileFailure) -> [UInt8]? {
        guard let status = try status(of: name, followingLinks: true) else { return nil }
        // A pipe or a device might never end.
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FileFailure("\(path)/\(name) cannot be read: it is not a regular file")
        }
        return try ReadableFile("\(path)/\(name)").readAll(limit: SignedNote.mostBytes)
    }

    /// - Returns: `nil` where there is no such file.
    private func status(of name: String, followingLinks: Bool) throws(FileFailure) -> stat? {
        var status = stat()
        let file = "\(path)/\(name)"
        if (followingLinks ? stat(file, &status) : lstat(file, &status)) == 0 { return status }
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw FileFailure("\(file) cannot be read: \(String(cString: strerror(errno)))")
    }

    // MARK: Writing

    func write(_ tile: Tile, _ hashes: [MerkleHash]) throws(FileFailure) {
        try write(MerkleHash.bytes(hashes), to: Self.name(of: tile, width: hashes.count))
    }

    /// Write it after the tiles: whoever reads a checkpoint must find its tiles.
    func write(_ checkpoint: SignedCheckpoint) throws(FileFailure) {
        try write(Array(checkpoint.text.utf8), to: Self.checkpointName)
    }

    /// Follows no symbolic link below the directory: a web server may own it while root writes into
    /// it, and could have put a link there.
    private func write(_ bytes: [UInt8], to name: String) throws(FileFailure) {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw FileFailure("the directory \(path) cannot be made: \(error.localizedDescription)")
        }
        var directory = try DirectoryHandle(path)
        let parts = name.split(separator: "/").map(String.init)
        for part in parts.dropLast() { directory = try directory.directory(part) }
        try directory.publish(bytes, as: parts.last ?? name)
    }
}
