import Crypto
import Foundation
public import Texts

/// The private key that signs a log's checkpoints. Ed25519.
public struct SealKey: Sendable {
    public let name: ExactText
    private let seed: [UInt8]
    public let verifier: VerifierKey

    private init(name: ExactText, seed: [UInt8]) throws(Malformed) {
        guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed) else {
            throw Malformed("these are no 32 bytes of an Ed25519 key")
        }
        self.name = name
        self.seed = seed
        verifier = VerifierKey(name: name, bytes: Array(key.publicKey.rawRepresentation))
    }

    /// A fresh key.
    /// - Throws: ``Malformed`` for a name that no key may have.
    public init(name: ExactText) throws(Malformed) {
        guard VerifierKey.isName(name.text) else {
            throw Malformed("a key's name has no spaces and no +, and is not empty")
        }
        try self.init(name: name, seed: Array(Curve25519.Signing.PrivateKey().rawRepresentation))
    }

    private static let prefix = "PRIVATE+KEY+"

    /// `PRIVATE+KEY+NAME+ID+KEY`, as other programs that sign notes keep their keys. A secret.
    public var secretText: String {
        "\(Self.prefix)\(name)+\(VerifierKey.hex(verifier.id))+\(Base64.text([VerifierKey.algorithm] + seed))"
    }

    /// - Throws: ``Malformed``, which does not repeat what it was given.
    public init(secretText: String) throws(Malformed) {
        let text = secretText.trimmingCharacters(in: .whitespacesAndNewlines)
        let parts = text.dropFirst(Self.prefix.count).split(
            separator: "+", maxSplits: 2, omittingEmptySubsequences: false)
        guard text.hasPrefix(Self.prefix), parts.count == 3, VerifierKey.isName(parts[0]),
            let bytes = Base64.bytes(parts[2]),
            bytes.count == 33, bytes[0] == VerifierKey.algorithm
        else { throw Malformed("a private key is PRIVATE+KEY+NAME+ID+KEY, as `jobledger audit key --out` writes it") }
        try self.init(name: ExactText(parts[0]), seed: Array(bytes.dropFirst()))
        guard VerifierKey.hex(verifier.id) == parts[1] else {
            throw Malformed("the private key's id does not fit its name and key")
        }
    }

    /// A checkpoint: the head, signed.
    public func sign(_ head: TreeHead) throws -> SignedNote {
        precondition(head.origin == name)
        let key = try Curve25519.Signing.PrivateKey(rawRepresentation: seed)
        let signature = try key.signature(for: Array(head.text.utf8))
        return SignedNote(
            text: ExactText(head.text), signatures: [.init(name: name, keyID: verifier.id, bytes: Array(signature))])
    }
}
