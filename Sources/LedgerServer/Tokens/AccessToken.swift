package import Crypto
import Foundation
package import LedgerCore

/// Identifies a token wherever it is mentioned. It is not secret.
package typealias TokenID = ExactText

/// A bearer token, `jl_ID_SECRET`: the id names the row in the ledger, the secret is 256 random
/// bits in base64url.
package struct AccessToken: Sendable, CustomStringConvertible, CustomReflectable {
    package let id: TokenID
    private let secret: String

    package static func random() -> AccessToken {
        var generator = SystemRandomNumberGenerator()
        func bytes(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        }
        let secret = Data(bytes(32)).base64EncodedString()
            .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        return AccessToken(id: TokenID(bytes(6).hexadecimal), secret: secret)
    }

    private init(id: TokenID, secret: String) {
        self.id = id
        self.secret = secret
    }

    /// `nil` if the text does not have the form of a token.
    package init?(_ text: String) {
        let parts = text.split(separator: "_", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "jl", parts[1].utf8.count == 12, parts[2].utf8.count == 43,
            parts[1].utf8.allSatisfy(Self.isHexDigit), parts[2].utf8.allSatisfy(Self.isSecretCharacter)
        else { return nil }
        (id, secret) = (TokenID(parts[1]), String(parts[2]))
    }

    /// The token itself, shown once to its creator.
    package var text: String { "jl_\(id)_\(secret)" }

    /// The text of the token in the header `Authorization`; `nil` if the header has another form.
    static func text(inHeader header: String) -> String? {
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        return parts[1].trimmingSpaces()
    }

    /// What the ledger stores.
    package var hash: SHA256Digest { SHA256.hash(data: Data(text.utf8)) }

    var hexHash: String { hash.hexadecimal }

    /// Neither messages nor dumps show the secret.
    package var description: String { "jl_\(id)_…" }
    package var customMirror: Mirror { Mirror(self, children: ["id": id]) }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }

    private static func isSecretCharacter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || byte == UInt8(ascii: "-")
            || byte == UInt8(ascii: "_")
    }
}
