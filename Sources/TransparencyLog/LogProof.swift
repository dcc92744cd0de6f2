import Foundation

/// A proof that an entry is in a log, as a text that can be checked without the log. The format is
/// C2SP's tlog-proof.
public struct LogProof: Sendable, Equatable {
    /// The data from which the bytes of the entry can be made. The proof covers the entry, not this
    /// data: trust it only after the entry made from it has passed the check.
    public var extra: [UInt8]
    public var inclusion: InclusionProof
    public var checkpoint: SignedCheckpoint

    public init(extra: [UInt8], inclusion: InclusionProof, checkpoint: SignedCheckpoint) {
        self.extra = extra
        self.inclusion = inclusion
        self.checkpoint = checkpoint
    }

    static let firstLine = "c2sp.org/tlog-proof@v1\n"

    public var text: String {
        Self.firstLine + (extra.isEmpty ? "" : "extra \(Base64.text(extra))\n") + "index \(inclusion.index)\n"
            + inclusion.hashes.map { $0.base64 + "\n" }.joined() + "\n" + checkpoint.text
    }

    /// - Throws: ``Malformed``
    public init(_ text: String) throws(Malformed) {
        guard text.hasPrefix(Self.firstLine) else {
            throw Malformed("a proof begins with the line \(Self.firstLine.dropLast())")
        }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...].dropFirst()
        var extra: [UInt8] = []
        if let line = lines.first, line.hasPrefix("extra ") {
            guard let bytes = Base64.bytes(line.dropFirst(6)) else {
                throw Malformed("the extra data of the proof is not base64")
            }
            extra = bytes
            lines.removeFirst()
        }
        guard let line = lines.popFirst(), line.hasPrefix("index "), let index = Int64(line.dropFirst(6)),
            (0..<TreeHead.largestSize).contains(index),
            "index \(index)" == line
        else { throw Malformed("a proof names its entry in a line: index N") }
        let hashes = try Self.hashes(&lines)
        self.init(
            extra: extra, inclusion: InclusionProof(index: index, hashes: hashes),
            checkpoint: try SignedCheckpoint(lines.joined(separator: "\n")))
    }

    /// Reads several proofs, one after the other.
    /// - Throws: ``Malformed``
    public static func list(_ text: String) throws(Malformed) -> [LogProof] {
        guard text.hasPrefix(firstLine) else { throw Malformed("a proof begins with the line \(firstLine.dropLast())") }
        var proofs: [LogProof] = []
        for part in text.components(separatedBy: "\n" + firstLine) {
            let isFirst = proofs.isEmpty
            proofs.append(try LogProof((isFirst ? "" : firstLine) + part + (part.hasSuffix("\n") ? "" : "\n")))
        }
        return proofs
    }

    /// Takes the hashes up to an empty line, and that line, from `lines`.
    static func hashes(_ lines: inout ArraySlice<Substring>) throws(Malformed) -> [MerkleHash] {
        var hashes: [MerkleHash] = []
        while let line = lines.popFirst() {
            if line.isEmpty { return hashes }
            guard let hash = MerkleHash(base64: line), hashes.count < 63 else {
                throw Malformed("before the checkpoint come up to 63 hashes in base64, one a line, and an empty line")
            }
            hashes.append(hash)
        }
        throw Malformed("there is no checkpoint")
    }
}
