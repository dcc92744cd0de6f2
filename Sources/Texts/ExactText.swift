import Glibc

/// A text that is compared by the bytes of its UTF-8, as Postgres, Redis and signatures do.
///
/// Swift compares a `String` by its appearance: `josé` with a one-scalar é equals `josé` with an e
/// and a combining accent, and both are one key of a dictionary. For the database they are two
/// jobs. So every text that identifies something and may come from outside is an `ExactText`: names
/// of jobs, actors, tokens, logs, keys and channels, and the names of JSON members. It equals a
/// text with the same bytes, and is sorted by bytes.
///
/// A `String` is for texts that are only shown, stored or forwarded.
@frozen
public struct ExactText: Sendable, Hashable {
    public var text: String

    @inlinable
    public init(_ text: String) { self.text = text }

    @inlinable
    public init(_ text: Substring) { self.text = String(text) }

    public static func == (one: ExactText, other: ExactText) -> Bool {
        let (one, other) = (one.text.utf8, other.text.utf8)
        // Most unequal texts differ in length, which a string knows.
        guard one.count == other.count else { return false }
        return one.withBytes { bytes in
            // Both buffers have that many bytes, and are valid within the closures.
            other.withBytes { bytes.count == 0 || memcmp(bytes.baseAddress!, $0.baseAddress!, bytes.count) == 0 }
        }
    }

    public func hash(into hasher: inout Hasher) {
        text.utf8.withBytes { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        // Separates texts in a hash, so that ("a", "bc") and ("ab", "c") differ: no UTF-8 has this
        // byte.
        hasher.combine(0xFF as UInt8)
    }

    @inlinable public var utf8: String.UTF8View { text.utf8 }
    @inlinable public var isEmpty: Bool { text.isEmpty }
}

extension String.UTF8View {
    /// Gives the bytes to `body`. Only a string that a foreign framework made is copied for it.
    @inline(__always)
    fileprivate func withBytes<Value>(_ body: (UnsafeBufferPointer<UInt8>) -> Value) -> Value {
        withContiguousStorageIfAvailable(body) ?? Array(self).withUnsafeBufferPointer(body)
    }
}

extension ExactText: Comparable {
    @inlinable
    public static func < (one: ExactText, other: ExactText) -> Bool { one.utf8.lexicographicallyPrecedes(other.utf8) }
}

extension ExactText: ExpressibleByStringInterpolation, LosslessStringConvertible {
    @inlinable public init(stringLiteral text: String) { self.init(text) }
    @inlinable public var description: String { text }
}

extension ExactText: Codable {
    public init(from decoder: any Decoder) throws { self.init(try decoder.singleValueContainer().decode(String.self)) }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}
