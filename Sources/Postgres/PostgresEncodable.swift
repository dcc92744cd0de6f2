import Foundation

/// A value that can be sent as a parameter, in Postgres's binary format.
public protocol PostgresEncodable: Sendable {
    /// The type's OID in `pg_type`, which is fixed for built-in types.
    static var postgresType: UInt32 { get }
    /// The OID of the type's array.
    static var postgresArrayType: UInt32 { get }
    /// The value's bytes; `nil` is SQL's null.
    func postgresBytes() -> [UInt8]?
}

extension FixedWidthInteger {
    var bigEndianBytes: [UInt8] { withUnsafeBytes(of: bigEndian, Array.init) }
}

extension Bool: PostgresEncodable {
    public static var postgresType: UInt32 { 16 }
    public static var postgresArrayType: UInt32 { 1000 }
    public func postgresBytes() -> [UInt8]? { [self ? 1 : 0] }
}

extension Int32: PostgresEncodable {
    public static var postgresType: UInt32 { 23 }
    public static var postgresArrayType: UInt32 { 1007 }
    public func postgresBytes() -> [UInt8]? { bigEndianBytes }
}

extension Int64: PostgresEncodable {
    public static var postgresType: UInt32 { 20 }
    public static var postgresArrayType: UInt32 { 1016 }
    public func postgresBytes() -> [UInt8]? { bigEndianBytes }
}

extension Int: PostgresEncodable {
    public static var postgresType: UInt32 { 20 }
    public static var postgresArrayType: UInt32 { 1016 }
    public func postgresBytes() -> [UInt8]? { Int64(self).bigEndianBytes }
}

extension Double: PostgresEncodable {
    public static var postgresType: UInt32 { 701 }
    public static var postgresArrayType: UInt32 { 1022 }
    public func postgresBytes() -> [UInt8]? { bitPattern.bigEndianBytes }
}

/// Text goes as UTF-8 with its length, so nothing in it needs escaping. The server refuses U+0000 (`22021`).
extension String: PostgresEncodable {
    public static var postgresType: UInt32 { 25 }
    public static var postgresArrayType: UInt32 { 1009 }
    public func postgresBytes() -> [UInt8]? { Array(utf8) }
}

extension UUID: PostgresEncodable {
    public static var postgresType: UInt32 { 2950 }
    public static var postgresArrayType: UInt32 { 2951 }
    public func postgresBytes() -> [UInt8]? { withUnsafeBytes(of: uuid, Array.init) }
}

/// A `bytea`.
public struct PostgresBytes: PostgresEncodable, Equatable {
    public var bytes: [UInt8]
    public init(_ bytes: [UInt8]) { self.bytes = bytes }
    public static var postgresType: UInt32 { 17 }
    public static var postgresArrayType: UInt32 { 1001 }
    public func postgresBytes() -> [UInt8]? { bytes }
}

/// A `timestamptz`: microseconds since 2000-01-01 00:00 UTC, exactly as the server keeps it.
public struct PostgresTimestamp: PostgresEncodable, Hashable {
    public var microseconds: Int64
    public init(microseconds: Int64) { self.microseconds = microseconds }
    public static var postgresType: UInt32 { 1184 }
    public static var postgresArrayType: UInt32 { 1185 }
    public func postgresBytes() -> [UInt8]? { microseconds.bigEndianBytes }

    /// Microseconds from the Unix epoch to Postgres's.
    public static let unixEpochDifference: Int64 = 946_684_800_000_000
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    public static var postgresType: UInt32 { Wrapped.postgresType }
    public static var postgresArrayType: UInt32 { Wrapped.postgresArrayType }
    public func postgresBytes() -> [UInt8]? { self?.postgresBytes() }
}

/// A one-dimensional array.
extension Array: PostgresEncodable where Element: PostgresEncodable {
    public static var postgresType: UInt32 { Element.postgresArrayType }
    public static var postgresArrayType: UInt32 { Element.postgresArrayType }

    public func postgresBytes() -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes += Int32(isEmpty ? 0 : 1).bigEndianBytes  // dimensions
        bytes += Int32(1).bigEndianBytes  // there may be nulls
        bytes += Element.postgresType.bigEndianBytes
        guard !isEmpty else { return bytes }
        bytes += Int32(count).bigEndianBytes
        bytes += Int32(1).bigEndianBytes  // the first index
        for element in self {
            if let element = element.postgresBytes() {
                bytes += Int32(element.count).bigEndianBytes
                bytes += element
            } else {
                bytes += Int32(-1).bigEndianBytes
            }
        }
        return bytes
    }
}
