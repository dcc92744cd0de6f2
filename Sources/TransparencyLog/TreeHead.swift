public import Texts

/// The body of a checkpoint: the name of the log, the number of leaves and the root over them. The
/// format is C2SP's tlog-checkpoint.
public struct TreeHead: Sendable, Equatable {
    /// The name of the log. The keys that sign for it have the same name.
    public var origin: ExactText
    public var size: Int64
    public var root: MerkleHash

    /// The most leaves that a tree can have here, 2⁶² − 1. So one more than a size, and the sum of
    /// two sizes, still fit an `Int64`.
    public static let largestSize: Int64 = .largestAccepted

    public init(origin: ExactText, size: Int64, root: MerkleHash) {
        self.origin = origin
        self.size = size
        self.root = root
    }

    /// The text that is signed.
    public var text: String { "\(origin)\n\(size)\n\(root.base64)\n" }

    /// Further lines after the third are allowed and ignored.
    /// - Throws: ``Malformed``
    public init(_ text: some StringProtocol) throws(Malformed) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count >= 4, lines.last?.isEmpty == true, !lines.dropLast().contains(where: \.isEmpty) else {
            throw Malformed("a checkpoint has three lines: the log's name, its size and its root")
        }
        guard let size = Int64(lines[1]), (0...Self.largestSize).contains(size), "\(size)" == lines[1] else {
            throw Malformed("the second line of a checkpoint is the log's size")
        }
        guard let root = MerkleHash(base64: lines[2]) else {
            throw Malformed("the third line of a checkpoint is the root hash in base64")
        }
        guard size > 0 || root == .ofNothing else {
            throw Malformed("the log has no entries, but the root is not that of an empty log")
        }
        self.init(origin: ExactText(String(lines[0])), size: size, root: root)
    }
}

/// Why a text is not a checkpoint, proof or key.
public struct Malformed: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
