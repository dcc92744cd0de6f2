import Foundation
import Texts

/// Standard base64 (RFC 4648, section 4), with padding and without white space.
enum Base64 {
    static func text(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

    /// `nil` unless the text is exactly what ``text(_:)`` returns for the bytes: only one spelling
    /// is accepted.
    static func bytes(_ text: some StringProtocol) -> [UInt8]? {
        guard let data = Data(base64Encoded: String(text)) else { return nil }
        let bytes = Array(data)
        return self.text(bytes) == text ? bytes : nil
    }
}

extension MerkleHash {
    /// The form in checkpoints and proofs.
    public var base64: String { Base64.text(bytes) }

    public init?(base64: some StringProtocol) {
        guard let hash = Base64.bytes(base64).flatMap({ MerkleHash($0) }) else { return nil }
        self = hash
    }
}

extension MerkleHash {
    /// 64 hexadecimal digits, in lower case.
    public var hex: String { bytes.hexadecimal }

    /// `nil` unless the text is exactly what ``hex`` returns.
    public init?(hex: String) {
        let digits = Array(hex.utf8)
        guard digits.count == 2 * Self.size else { return nil }
        let bytes = (0..<Self.size).compactMap {
            UInt8(String(decoding: digits[2 * $0...2 * $0 + 1], as: UTF8.self), radix: 16)
        }
        guard let hash = MerkleHash(bytes), hash.hex == hex else { return nil }
        self = hash
    }
}
