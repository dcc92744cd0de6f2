package import Foundation
package import Texts

/// A value that can be read from a column in Postgres's binary format.
package protocol PostgresDecodable {
    /// - Parameter bytes: the column's bytes; `nil` is SQL's null.
    /// - Parameter type: the column's type OID.
    /// - Returns: `nil` if the column has no such value.
    static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> Self?
}

extension FixedWidthInteger {
    init?(bigEndianBytes bytes: UnsafeRawBufferPointer) {
        guard bytes.count == MemoryLayout<Self>.size else { return nil }
        self = Self(bigEndian: bytes.loadUnaligned(as: Self.self))
    }
}

extension Bool: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> Bool? {
        guard let bytes, type == 16, bytes.count == 1 else { return nil }
        return bytes[0] != 0
    }
}

/// `smallint`, `integer`, `bigint` and `oid` decode as any integer type that can hold the value.
/// The exception is a `bigint` of 2⁶² and above, or below −2⁶² + 1, which does not decode: so the
/// sum and the difference of any two numbers from the server exist. No count in a ledger becomes
/// that large; such a number is a mistake or an attack.
private func decodeInteger<T: FixedWidthInteger>(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> T? {
    guard let bytes else { return nil }
    switch type {
    case 21: return Int16(bigEndianBytes: bytes).flatMap(T.init(exactly:))
    case 23: return Int32(bigEndianBytes: bytes).flatMap(T.init(exactly:))
    case 20:
        return Int64(bigEndianBytes: bytes).flatMap {
            $0.magnitude <= Int64.largestAccepted.magnitude ? T(exactly: $0) : nil
        }
    case 26: return UInt32(bigEndianBytes: bytes).flatMap(T.init(exactly:))
    default: return nil
    }
}

extension Int: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> Int? {
        decodeInteger(bytes, type: type)
    }
}

extension Int32: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> Int32? {
        decodeInteger(bytes, type: type)
    }
}

extension Int64: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> Int64? {
        decodeInteger(bytes, type: type)
    }
}

extension Double: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> Double? {
        guard let bytes, type == 701 else { return nil }
        return UInt64(bigEndianBytes: bytes).map(Double.init(bitPattern:))
    }
}

/// All types whose binary form is their text (`text`, `varchar`, `char`, `name`, `json`, `xml`,
/// `unknown`), and `jsonb`.
extension String: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> String? {
        guard let bytes else { return nil }
        switch type {
        case 25, 1043, 1042, 19, 114, 142, 705, 18: return String(decoding: bytes, as: UTF8.self)
        case 3802: return String(decoding: bytes.dropFirst(), as: UTF8.self)  // jsonb starts with a version byte
        default: return nil
        }
    }
}

extension ExactText: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> ExactText? {
        String.decode(bytes, type: type).map { ExactText($0) }
    }
}

extension UUID: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> UUID? {
        guard let bytes, type == 2950, bytes.count == 16 else { return nil }
        return UUID(uuid: bytes.loadUnaligned(as: uuid_t.self))
    }
}

extension PostgresBytes: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> PostgresBytes? {
        guard let bytes else { return nil }
        return PostgresBytes(Array(bytes))
    }
}

extension PostgresTimestamp: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> PostgresTimestamp? {
        guard let bytes, type == 1184 || type == 1114 else { return nil }
        return Int64(bigEndianBytes: bytes).map(PostgresTimestamp.init(microseconds:))
    }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> Wrapped?? {
        guard let bytes else { return .some(nil) }
        return Wrapped.decode(bytes, type: type).map(Optional.some)
    }
}

/// A one-dimensional array.
extension Array: PostgresDecodable where Element: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> [Element]? {
        guard let bytes else { return nil }
        var rest = bytes[...]
        func integer() -> Int32? {
            guard rest.count >= 4 else { return nil }
            defer { rest = rest.dropFirst(4) }
            return Int32(bigEndianBytes: UnsafeRawBufferPointer(rebasing: rest.prefix(4)))
        }
        guard let dimensions = integer(), integer() != nil, let elementType = integer() else { return nil }
        guard dimensions == 1 else { return dimensions == 0 ? [] : nil }
        guard let count = integer(), count >= 0, integer() != nil else { return nil }
        var elements: [Element] = []
        for _ in 0..<count {
            guard let length = integer() else { return nil }
            let element: UnsafeRawBufferPointer?
            if length < 0 {
                element = nil
            } else {
                guard rest.count >= Int(length) else { return nil }
                element = UnsafeRawBufferPointer(rebasing: rest.prefix(Int(length)))
                rest = rest.dropFirst(Int(length))
            }
            guard let decoded = Element.decode(element, type: UInt32(bitPattern: elementType)) else { return nil }
            elements.append(decoded)
        }
        return elements
    }
}
