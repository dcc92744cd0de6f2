import Foundation
import Texts

/// A value that can be sent as a parameter, in Postgres's binary format.
package protocol PostgresEncodable: Sendable {
    /// The type's OID in `pg_type`, which is fixed for built-in types.
    static var postgresType: UInt32 { get }
    /// The OID of the type's array.
    static var postgresArrayType: UInt32 { get }
    /// Appends the value's bytes to `bytes`. For SQL's null it returns false and appends nothing.
    func encode(into bytes: inout [UInt8]) -> Bool
}

extension [UInt8] {
    /// Appends in network order: the highest byte first.
    mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}

extension Bool: PostgresEncodable {
    package static var postgresType: UInt32 { 16 }
    package static var postgresArrayType: UInt32 { 1000 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(self ? 1 : 0)
        return true
    }
}

extension Int32: PostgresEncodable {
    package static var postgresType: UInt32 { 23 }
    package static var postgresArrayType: UInt32 { 1007 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: self)
        return true
    }
}

extension Int64: PostgresEncodable {
    package static var postgresType: UInt32 { 20 }
    package static var postgresArrayType: UInt32 { 1016 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: self)
        return true
    }
}

extension Int: PostgresEncodable {
    package static var postgresType: UInt32 { 20 }
    package static var postgresArrayType: UInt32 { 1016 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: Int64(self))
        return true
    }
}

extension Double: PostgresEncodable {
    package static var postgresType: UInt32 { 701 }
    package static var postgresArrayType: UInt32 { 1022 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: bitPattern)
        return true
    }
}

/// Text is sent as UTF-8 with its length, so nothing in it needs escaping. The server refuses
/// U+0000 (`22021`).
extension String: PostgresEncodable {
    package static var postgresType: UInt32 { 25 }
    package static var postgresArrayType: UInt32 { 1009 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(contentsOf: utf8)
        return true
    }
}

extension ExactText: PostgresEncodable {
    package static var postgresType: UInt32 { String.postgresType }
    package static var postgresArrayType: UInt32 { String.postgresArrayType }
    package func encode(into bytes: inout [UInt8]) -> Bool { text.encode(into: &bytes) }
}

extension UUID: PostgresEncodable {
    package static var postgresType: UInt32 { 2950 }
    package static var postgresArrayType: UInt32 { 2951 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        withUnsafeBytes(of: uuid) { bytes.append(contentsOf: $0) }
        return true
    }
}

/// A `bytea`.
package struct PostgresBytes: PostgresEncodable, Equatable {
    package var bytes: [UInt8]
    package init(_ bytes: [UInt8]) { self.bytes = bytes }
    package static var postgresType: UInt32 { 17 }
    package static var postgresArrayType: UInt32 { 1001 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(contentsOf: self.bytes)
        return true
    }
}

/// A `timestamptz`: microseconds since 2000-01-01 00:00 UTC, exactly as the server keeps it.
package struct PostgresTimestamp: PostgresEncodable, Hashable {
    package var microseconds: Int64
    package init(microseconds: Int64) { self.microseconds = microseconds }
    package static var postgresType: UInt32 { 1184 }
    package static var postgresArrayType: UInt32 { 1185 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: microseconds)
        return true
    }

    /// Microseconds from the Unix epoch to Postgres's.
    package static let unixEpochDifference: Int64 = 946_684_800_000_000
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    package static var postgresType: UInt32 { Wrapped.postgresType }
    package static var postgresArrayType: UInt32 { Wrapped.postgresArrayType }
    package func encode(into bytes: inout [UInt8]) -> Bool { self?.encode(into: &bytes) ?? false }
}

/// A one-dimensional array.
extension Array: PostgresEncodable where Element: PostgresEncodable {
    package static var postgresType: UInt32 { Element.postgresArrayType }
    package static var postgresArrayType: UInt32 { Element.postgresArrayType }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        var array = PostgresArray<Element>()
        for element in self { array.append(element) }
        return array.encode(into: &bytes)
    }
}
