import Crypto
import Foundation

/// The secret of a session, which a browser keeps in a cookie, or a code to sign in by, which
/// stands in an address.
package struct SessionSecret: Sendable, CustomStringConvertible, CustomReflectable {
    /// The secret itself.
    package let text: String

    package static func random() -> SessionSecret { SessionSecret(random: RandomSecret.make()) }

    private init(random: String) { text = random }

    /// `nil` if the text does not have the form of a secret.
    init?(_ text: some StringProtocol) {
        guard RandomSecret.isOne(text) else { return nil }
        self.text = String(text)
    }

    /// What the ledger is told of the secret. It stores the hash of that.
    var key: SHA256Digest { SHA256.hash(data: Data(text.utf8)) }

    /// Neither messages nor dumps show the secret.
    package var description: String { "(a session's secret)" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
