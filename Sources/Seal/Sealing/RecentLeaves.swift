import LedgerCore
import PrivateFiles
import TransparencyLog

/// The hashes of the events that a sealer has sealed last, in a file beside its record.
///
/// After a failover the last sealed events may be gone from the database, and with them the tiles
/// over them. From these hashes the sealer can still compute the tree that it has signed, so it can
/// prove how far that tree and the log are the same: see ``SealFork``.
///
/// The file has a first line of fixed length, `leaves after POSITION`, and then 32 bytes a leaf. A
/// crash may leave it shorter or with a wrong end. That shows, because the tree then has another
/// root than what was signed.
struct RecentLeaves: Sendable {
    let path: String
    /// The number of leaves that are kept at least, as long as there are that many. A failover
    /// loses fewer.
    let kept: Int

    /// A position has at most 19 digits.
    private static let headerSize = 40
    private static let prefix = "leaves after "

    init(path: String, kept: Int = 65_536) {
        (self.path, self.kept) = (path, kept)
    }

    /// Adds the leaves after a position. What the file has behind that position is replaced.
    func add(_ leaves: [MerkleHash], after position: Position) throws(FileFailure) {
        guard !leaves.isEmpty else { return }
        let file = try PlacedFile(writing: path)
        let end = position + Int64(leaves.count)
        guard let there = try Self.range(of: file), there.lowerBound <= position, position <= there.upperBound else {
            // It does not continue what is there.
            return try write(leaves.suffix(2 * kept), to: file, endingAt: end)
        }
        guard end - there.lowerBound <= Int64(2 * kept) else {
            let first = max(there.lowerBound, position - Int64(kept))
            // A crash may take back the last leaves, and then those before must be enough.
            let all = (try read(file, there.lowerBound, first..<position) ?? []) + leaves
            return try write(all, to: file, endingAt: end)
        }
        let place = Self.place(of: position - there.lowerBound)
        try file.write(MerkleHash.bytes(leaves), at: place)
        try file.finish(at: place + leaves.count * MerkleHash.size)
    }

    /// The leaves of a range of positions, each counted from the one before it; `nil` where the
    /// file does not have all of them.
    func read(after position: Position, upTo end: Position) throws(FileFailure) -> [MerkleHash]? {
        guard let file = try PlacedFile(reading: path), let there = try Self.range(of: file),
            there.lowerBound <= position, end <= there.upperBound
        else { return nil }
        return try read(file, there.lowerBound, position..<end)
    }

    /// All leaves, and the position before the first of them; `nil` where the file has none.
    func readAll() throws(FileFailure) -> (after: Position, leaves: [MerkleHash])? {
        guard let file = try PlacedFile(reading: path), let there = try Self.range(of: file),
            let leaves = try read(file, there.lowerBound, there.lowerBound..<there.upperBound)
        else { return nil }
        return (there.lowerBound, leaves)
    }

    // MARK: The file

    /// The place of a leaf, counted from the first in the file.
    private static func place(of leaf: Int64) -> Int { headerSize + Int(leaf) * MerkleHash.size }

    /// The positions after which the file begins and at which it ends; `nil` where its first line
    /// is not what ``add(_:after:)`` writes.
    private static func range(of file: PlacedFile) throws(FileFailure) -> ClosedRange<Position>? {
        guard let line = String(validating: try file.read(headerSize, at: 0), as: UTF8.self), line.hasPrefix(prefix),
            let start = Position(position: line.dropFirst(prefix.count).prefix { $0 != " " && $0 != "\n" })
        else { return nil }
        let count = max(0, try file.size() - headerSize) / MerkleHash.size
        return start...start + Int64(count)
    }

    private func read(
        _ file: PlacedFile, _ start: Position, _ positions: Range<Position>
    ) throws(FileFailure) -> [MerkleHash]? {
        let size = positions.count * MerkleHash.size
        let bytes = try file.read(size, at: Self.place(of: positions.lowerBound - start))
        return bytes.count == size ? MerkleHash.list(bytes) : nil
    }

    /// Writes the file anew. A crash in between leaves a file that does not give the signed root.
    private func write(
        _ leaves: some Collection<MerkleHash>, to file: PlacedFile, endingAt end: Position
    ) throws(FileFailure) {
        let line = "\(Self.prefix)\(end - Int64(leaves.count))"
        let header = line + String(repeating: " ", count: Self.headerSize - 1 - line.utf8.count) + "\n"
        let bytes = Array(header.utf8) + MerkleHash.bytes(leaves)
        try file.write(bytes, at: 0)
        try file.finish(at: bytes.count)
    }
}
