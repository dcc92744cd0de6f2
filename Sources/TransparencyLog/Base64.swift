import Foundation

/// Standard base64 (RFC 4648, section 4), with padding and nothing else in between.
enum Base64 {
    static func text(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

    /// `nil` unless the text is what ``text(_:)`` makes of the bytes: there is one way to write them.
    static func bytes(_ text: some StringProtocol) -> [UInt8]? {
        guard let data = Data(base64Encoded: String(text)) else { return nil }
        let bytes = Array(data)
        return self.text(bytes) == text ? bytes : nil
    }
}

extension MerkleHash {
    /// As checkpoints and proofs have it.
    public var base64: String { Base64.text(bytes) }

    public init?(base64: some StringProtocol) {
        guard let hash = Base64.bytes(base64).flatMap({ MerkleHash($0) }) else { return nil }
        self = hash
    }
}
