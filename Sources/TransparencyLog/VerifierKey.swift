import Crypto
import Foundation
public import Texts

/// The public half of a log's Ed25519 key, with the name of the log. Whoever checks proofs must get
/// it from somebody they trust.
public struct VerifierKey: Sendable, Equatable, CustomStringConvertible {
    public let name: ExactText
    public let id: UInt32
    /// The 32 bytes of the key.
    public let bytes: [UInt8]

    /// The byte that stands for Ed25519 in C2SP's signed-note.
    static let algorithm: UInt8 = 1

    init(name: ExactText, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
        let named = Array(name.utf8) + [0x0A, Self.algorithm] + bytes
        id = UInt32(bigEndianBytes: MerkleHash.plain(named[...]).bytes.prefix(4))
    }

    /// `NAME+ID+KEY`, the form in which the key is passed on.
    public var description: String {
        "\(name)+\(Self.hex(id))+\(Base64.text([Self.algorithm] + bytes))"
    }

    /// Reads what ``description`` returns. White space around it is ignored.
    /// - Throws: ``Malformed``
    public init(_ text: String) throws(Malformed) {
        let text = text.trimmingCharacters(in: .whitespacesAndNewlines)
        // Base64 has a + of its own.
        let parts = text.split(separator: "+", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, Self.isName(parts[0]), let bytes = Base64.bytes(parts[2]), bytes.count == 33,
            bytes[0] == Self.algorithm
        else { throw Malformed("a verifier key is NAME+ID+KEY, as `jobledger audit key` shows it, and of Ed25519") }
        self.init(name: ExactText(parts[0]), bytes: Array(bytes.dropFirst()))
        guard Self.hex(id) == parts[1] else {
            throw Malformed("the verifier key's id does not fit its name and key: it was altered")
        }
    }

    func verifies(_ signature: [UInt8], of text: ExactText) -> Bool {
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else { return false }
        return key.isValidSignature(signature, for: Array(text.utf8))
    }

    /// Whether this can be the name of a key, and of a log.
    public static func isName(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && text.unicodeScalars.allSatisfy { !$0.properties.isWhitespace && $0.value >= 0x20 && $0 != "+" }
    }

    static func hex(_ id: UInt32) -> String {
        let digits = String(id, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}
