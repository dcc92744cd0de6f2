/// A text that nobody may see who reads an error, a log or a metric: an address that may hold a
/// password, a token, the value of a header.
///
/// However it is printed, dumped or put into another text, it shows nothing of itself: a password
/// that stands in an odd place cannot be told from what may be shown. ``revealed`` is the one way
/// to it, for who connects, or writes it into a file of mode 0600.
public struct SecretText: Sendable, Equatable {
    public let revealed: String

    public init(_ text: String) { revealed = text }

    /// Whether a text has a private key in it: one that seals, or PEM. It is asked of what should
    /// be a path.
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
