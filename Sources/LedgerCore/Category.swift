/// The kind of a stream. `job` is one; others are declared for a ledger. A stream is identified by
/// its category and its id.
public struct Category: Sendable, Hashable {
    /// The name: at most 50 of `a–z`, `0–9` and `_`, with a letter first. It needs no quoting in
    /// SQL, in channels and in addresses.
    public let text: String

    private init(trusted text: String) { self.text = text }

    /// The category of jobs.
    public static var job: Category { Category(trusted: "job") }

    /// The most bytes of a name.
    package static let longestName = 50
}

extension Category: LosslessStringConvertible {
    /// `nil` unless `text` is a name of a category.
    public init?(_ text: String) {
        guard text.isPlainName(most: Self.longestName) else { return nil }
        self.text = text
    }

    public var description: String { text }

    /// The problem with a text that is not a name. It follows the place of the text in a message.
    package static func problem(with text: String) -> String {
        """
        must be the name of a category, at most \(longestName) of a–z, 0–9 and _ with a letter first, not \
        \(text.isEmpty ? "an empty text" : text.shortened(toBytes: 60))
        """
    }
}

/// What identifies a stream.
package struct StreamKey: Sendable, Hashable {
    package var category: Category
    package var id: JobID

    package init(_ category: Category, _ id: JobID) {
        self.category = category
        self.id = id
    }

    /// The ids of streams of several categories are rarely the same, so the id is enough.
    package func hash(into hasher: inout Hasher) { hasher.combine(id) }
}
