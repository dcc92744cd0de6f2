import Glibc

/// A text that is the bytes of its UTF-8, as it is to Postgres, to Redis and to whoever signs.
///
/// Swift takes a `String` for what can be read: `josé` with an é of one scalar and `josé` with an e
/// and an accent are equal, and one key of a dictionary. To the database they are two jobs. So
/// whatever tells one thing from another and may come from outside is an `ExactText`: names of
/// jobs, actors, tokens, logs and keys, channels, and the names of members in JSON. It is equal to
/// what has the same bytes, and is sorted by them.
///
/// A `String` stays what is shown, stored or sent as it is.
@frozen
public struct ExactText: Sendable, Hashable {
    public var text: String

    @inlinable
    public init(_ text: String) { self.text = text }

    @inlinable
    public init(_ text: Substring) { self.text = String(text) }

    public static func == (one: ExactText, other: ExactText) -> Bool {
        let (one, other) = (one.text.utf8, other.text.utf8)
        // Most differ by their length, which a string knows.
        guard one.count == other.count else { return false }
        return one.withBytes { bytes in
            // Both buffers have that many bytes, and are lent for as long as they are looked at.
            other.withBytes { bytes.count == 0 || memcmp(bytes.baseAddress!, $0.baseAddress!, bytes.count) == 0 }
        }
    }

    public func hash(into hasher: inout Hasher) {
        text.utf8.withBytes { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        // Tells ("a", "bc") from ("ab", "c"): no UTF-8 has this byte.
        hasher.combine(0xFF as UInt8)
    }

    @inlinable public var utf8: String.UTF8View { text.utf8 }
    @inlinable public var isEmpty: Bool { text.isEmpty }
}

extension String.UTF8View {
    /// Lends the bytes; they are copied only of a string that some foreign framework made.
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
