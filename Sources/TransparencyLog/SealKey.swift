import Crypto
import Foundation
package import Texts

/// The private Ed25519 key that signs the checkpoints of a log.
package struct SealKey: Sendable {
    package let name: ExactText
    private let seed: [UInt8]
    package let verifier: VerifierKey

    private init(name: ExactText, seed: [UInt8]) throws(Malformed) {
        guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed) else {
            throw Malformed("these 32 bytes are not an Ed25519 private key")
        }
        self.name = name
        self.seed = seed
        verifier = VerifierKey(name: name, bytes: Array(key.publicKey.rawRepresentation))
    }

    /// Makes a new key.
    /// - Throws: ``Malformed`` for a name that a key cannot have.
    package init(name: ExactText) throws(Malformed) {
        guard VerifierKey.isName(name.text) else {
            throw Malformed("a key's name has no spaces and no +, and is not empty")
        }
        try self.init(name: name, seed: Array(Curve25519.Signing.PrivateKey().rawRepresentation))
    }

    private static let prefix = "PRIVATE+KEY+"

    /// `PRIVATE+KEY+NAME+ID+KEY`, the form in which other programs that sign notes keep keys too.
    /// A secret.
    package var secretText: String {
        "\(Self.prefix)\(name)+\(VerifierKey.hex(verifier.id))+\(Base64.text([VerifierKey.algorithm] + seed))"
    }

    /// Whether a text is meant to be a private key, intact or not. No verifier key begins like one.
    package static func isSecretText(_ text: String) -> Bool {
        text.trimmingCharacters(in: .whitespacesAndNewlines).hasPrefix(prefix)
    }

    /// - Throws: ``Malformed``. Its description has no part of the text.
    package init(secretText: String) throws(Malformed) {
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

    /// Signs the head of the log, which makes a checkpoint.
    package func sign(_ head: TreeHead) throws -> SignedNote {
        precondition(head.origin == name)
        let text = ExactText(head.text)
        return SignedNote(text: text, signatures: [try signature(of: text)])
    }

    /// Signs the text of a note. It must be no checkpoint: those are signed by ``sign(_:)``.
    package func signature(of text: ExactText) throws -> SignedNote.Signature {
        let key = try Curve25519.Signing.PrivateKey(rawRepresentation: seed)
        return .init(name: name, keyID: verifier.id, bytes: Array(try key.signature(for: Array(text.utf8))))
    }
}
