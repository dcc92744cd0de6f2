/// A text that must not appear in errors, logs or metrics: an address that may contain a password,
/// a token, the value of a header.
///
/// Printing, dumping or interpolating it shows nothing of it, because a password in an unexpected
/// place cannot be told from harmless text. ``revealed`` is the only access, for code that connects
/// or that writes a file of mode 0600.
public struct SecretText: Sendable, Equatable {
    public let revealed: String

    public init(_ text: String) { revealed = text }

    /// Whether a text contains a private key: a signing key of a sealer, or PEM. Callers check
    /// texts that should be paths.
    public static func isPrivateKey(_ text: String) -> Bool {
        let upper = text.uppercased()
        return upper.contains("PRIVATE+KEY") || upper.contains("PRIVATE KEY") || upper.contains("-----BEGIN")
    }
}

extension SecretText: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "(not shown)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
