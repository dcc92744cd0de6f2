import Foundation

/// An event's id: the idempotency key.
public typealias EventID = UUID

extension UUID {
    /// A fresh UUID of version 7 (RFC 9562, 5.7): the milliseconds since 1970, then random bits.
    public static func version7() -> UUID {
        var bytes = UUID().uuid
        let milliseconds = UInt64(Date().timeIntervalSince1970 * 1000)
        withUnsafeBytes(of: milliseconds.bigEndian) { time in
            (bytes.0, bytes.1, bytes.2, bytes.3, bytes.4, bytes.5) = (time[2], time[3], time[4], time[5], time[6], time[7])
        }
        bytes.6 = bytes.6 & 0x0F | 0x70
        return UUID(uuid: bytes)
    }

    /// As Postgres writes it, in lower case.
    public var text: String { uuidString.lowercased() }
}
