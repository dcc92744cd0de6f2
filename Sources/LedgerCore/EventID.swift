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
    public var text: String {
        var text: [UInt8] = []
        append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends ``text``, without the detour by Foundation's upper-case string.
    func append(to text: inout [UInt8]) {
        withUnsafeBytes(of: uuid) { bytes in
            for index in 0..<16 {
                if index == 4 || index == 6 || index == 8 || index == 10 { text.append(UInt8(ascii: "-")) }
                text.append(hexDigitsOf: bytes[index])
            }
        }
    }
}

extension [UInt8] {
    /// Appends two hexadecimal digits, in lower case.
    mutating func append(hexDigitsOf byte: UInt8) {
        append(Self.hexDigit(byte >> 4))
        append(Self.hexDigit(byte & 0x0F))
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value
    }
}
