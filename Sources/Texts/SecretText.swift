/// A text that must not appear in errors, logs or metrics: an address that may contain a password,
/// a token, the value of a header.
///
/// Printing, dumping or interpolating it shows nothing of it, because a password in an unexpected
/// place cannot be told from harmless text. ``revealed`` is the only access, for code that connects
/// or that writes a file of mode 0600.
package struct SecretText: Sendable, Equatable {
    package let revealed: String

    package init(_ text: String) { revealed = text }

    /// Whether a text contains a private key: a signing key of a sealer, or PEM. Callers check
    /// texts that should be paths.
    package static func isPrivateKey(_ text: String) -> Bool {
        let upper = text.uppercased()
        return upper.contains("PRIVATE+KEY") || upper.contains("PRIVATE KEY") || upper.contains("-----BEGIN")
    }
}

extension SecretText: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "(not shown)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
