import Foundation
import Texts

/// A value that can be sent as a parameter, in Postgres's binary format.
public protocol PostgresEncodable: Sendable {
    /// The type's OID in `pg_type`, which is fixed for built-in types.
    static var postgresType: UInt32 { get }
    /// The OID of the type's array.
    static var postgresArrayType: UInt32 { get }
    /// Puts the value's bytes behind what stands in `bytes`; false, and nothing put there, for SQL's null.
    func encode(into bytes: inout [UInt8]) -> Bool
}

extension [UInt8] {
    /// As the network has it: the highest byte first.
    mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}

extension Bool: PostgresEncodable {
    public static var postgresType: UInt32 { 16 }
    public static var postgresArrayType: UInt32 { 1000 }
    public func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(self ? 1 : 0)
        return true
    }
}

extension Int32: PostgresEncodable {
    public static var postgresType: UInt32 { 23 }
    public static var postgresArrayType: UInt32 { 1007 }
    public func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: self)
        return true
    }
}

extension Int64: PostgresEncodable {
    public static var postgresType: UInt32 { 20 }
    public static var postgresArrayType: UInt32 { 1016 }
    public func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: self)
        return true
    }
}

extension Int: PostgresEncodable {
    public static var postgresType: UInt32 { 20 }
    public static var postgresArrayType: UInt32 { 1016 }
    public func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: Int64(self))
        return true
    }
}

extension Double: PostgresEncodable {
    public static var postgresType: UInt32 { 701 }
    public static var postgresArrayType: UInt32 { 1022 }
    public func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: bitPattern)
        return true
    }
}

/// Text goes as UTF-8 with its length, so nothing in it needs escaping. The server refuses U+0000 (`22021`).
extension String: PostgresEncodable {
    public static var postgresType: UInt32 { 25 }
    public static var postgresArrayType: UInt32 { 1009 }
    public func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(contentsOf: utf8)
        return true
    }
}

extension ExactText: PostgresEncodable {
    public static var postgresType: UInt32 { String.postgresType }
    public static var postgresArrayType: UInt32 { String.postgresArrayType }
    public func encode(into bytes: inout [UInt8]) -> Bool { text.encode(into: &bytes) }
}

extension UUID: PostgresEncodable {
    public static var postgresType: UInt32 { 2950 }
    public static var postgresArrayType: UInt32 { 2951 }
    public func encode(into bytes: inout [UInt8]) -> Bool {
        withUnsafeBytes(of: uuid) { bytes.append(contentsOf: $0) }
        return true
    }
}

/// A `bytea`.
public struct PostgresBytes: PostgresEncodable, Equatable {
    public var bytes: [UInt8]
    public init(_ bytes: [UInt8]) { self.bytes = bytes }
    public static var postgresType: UInt32 { 17 }
    public static var postgresArrayType: UInt32 { 1001 }
    public func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(contentsOf: self.bytes)
        return true
    }
}

/// A `timestamptz`: microseconds since 2000-01-01 00:00 UTC, exactly as the server keeps it.
public struct PostgresTimestamp: PostgresEncodable, Hashable {
    public var microseconds: Int64
    public init(microseconds: Int64) { self.microseconds = microseconds }
    public static var postgresType: UInt32 { 1184 }
    public static var postgresArrayType: UInt32 { 1185 }
    public func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: microseconds)
        return true
    }

    /// Microseconds from the Unix epoch to Postgres's.
    public static let unixEpochDifference: Int64 = 946_684_800_000_000
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    public static var postgresType: UInt32 { Wrapped.postgresType }
    public static var postgresArrayType: UInt32 { Wrapped.postgresArrayType }
    public func encode(into bytes: inout [UInt8]) -> Bool { self?.encode(into: &bytes) ?? false }
}

/// A one-dimensional array.
extension Array: PostgresEncodable where Element: PostgresEncodable {
    public static var postgresType: UInt32 { Element.postgresArrayType }
    public static var postgresArrayType: UInt32 { Element.postgresArrayType }
    public func encode(into bytes: inout [UInt8]) -> Bool {
        var array = PostgresArray<Element>()
        for element in self { array.append(element) }
        return array.encode(into: &bytes)
    }
}
