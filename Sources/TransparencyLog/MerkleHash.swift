import Crypto

/// A SHA-256 hash in a Merkle tree, by the rules of RFC 6962, section 2.1.
///
/// Only this file accesses the memory of digests and hashes.
public struct MerkleHash: Sendable, Hashable {
    // The 32 bytes, in their order in memory.
    private let words: (UInt64, UInt64, UInt64, UInt64)

    public static let size = 32

    private init(_ digest: SHA256.Digest) {
        // A digest has 32 bytes. They are copied inside the closure.
        words = digest.withUnsafeBytes { $0.loadUnaligned(as: (UInt64, UInt64, UInt64, UInt64).self) }
    }

    /// `nil` unless there are 32 bytes.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.size else { return nil }
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &words) { $0.copyBytes(from: bytes) }
        self.words = words
    }

    public static func == (a: MerkleHash, b: MerkleHash) -> Bool {
        a.words.0 == b.words.0 && a.words.1 == b.words.1 && a.words.2 == b.words.2 && a.words.3 == b.words.3
    }

    /// The bytes of a hash are evenly distributed, so a quarter of them is enough for a hash table.
    public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }

    public var bytes: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }

    /// Appends the 32 bytes to `bytes`.
    public func append(to bytes: inout [UInt8]) { withUnsafeBytes(of: words) { bytes.append(contentsOf: $0) } }

    // MARK: Leaves and nodes

    /// The root of the empty tree.
    public static let ofNothing = MerkleHash(SHA256.hash(data: [UInt8]()))

    /// The byte before the bytes of a leaf when it is hashed. It differs from that of nodes, so no
    /// leaf can pass for a node.
    public static let leafPrefix: UInt8 = 0
    private static let nodePrefix: [UInt8] = [1]

    /// The hash of a leaf.
    /// - Parameter prefixed: ``leafPrefix`` and then the bytes of the leaf.
    public static func leaf(prefixed: [UInt8]) -> MerkleHash { plain(prefixed[...]) }

    public static func leaf(_ bytes: [UInt8]) -> MerkleHash { leaf(prefixed: [leafPrefix] + bytes) }

    /// The plain SHA-256 of bytes, not of a leaf or node.
    public static func plain(_ bytes: ArraySlice<UInt8>) -> MerkleHash {
        var hasher = SHA256()
        bytes.withUnsafeBytes { hasher.update(bufferPointer: $0) }
        return MerkleHash(hasher.finalize())
    }

    public static func node(_ left: MerkleHash, _ right: MerkleHash) -> MerkleHash {
        var hasher = SHA256()
        nodePrefix.withUnsafeBytes { hasher.update(bufferPointer: $0) }
        // Both hashes are eight words without padding between them.
        withUnsafeBytes(of: (left.words, right.words)) { hasher.update(bufferPointer: $0) }
        return MerkleHash(hasher.finalize())
    }

    /// The hash that stands for a full tile one tile level up.
    public static func root(ofFullTile hashes: [MerkleHash]) -> MerkleHash { perfectRoot(hashes[...]) }

    /// The root over hashes of leaves, or of subtrees of the same height. Their number is a power
    /// of two.
    static func perfectRoot(_ hashes: ArraySlice<MerkleHash>) -> MerkleHash {
        precondition(hashes.count.nonzeroBitCount == 1)
        var level = Array(hashes)
        while level.count > 1 {
            for index in 0..<level.count / 2 { level[index] = node(level[2 * index], level[2 * index + 1]) }
            level.removeSubrange((level.count / 2)...)
        }
        return level[0]
    }
}

extension MerkleHash {
    /// Splits bytes into hashes; `nil` where the number of bytes is not a multiple of ``size``.
    public static func list(_ bytes: some RandomAccessCollection<UInt8>) -> [MerkleHash]? {
        guard bytes.count % size == 0 else { return nil }
        return (0..<bytes.count / size).compactMap { index in
            let start = bytes.index(bytes.startIndex, offsetBy: index * size)
            return MerkleHash(bytes[start..<bytes.index(start, offsetBy: size)])
        }
    }

    public static func bytes(_ hashes: some Collection<MerkleHash>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(hashes.count * size)
        for hash in hashes { hash.append(to: &bytes) }
        return bytes
    }
}
