public import Foundation

/// An event's id: the idempotency key.
public typealias EventID = UUID

extension UUID {
    /// A fresh UUID of version 7 (RFC 9562, 5.7 and method 3 of 6.2): the time since 1970 in
    /// milliseconds and 4096ths of a millisecond, then random bits.
    public static func version7() -> UUID {
        let time = UInt64(Date().timeIntervalSince1970 * 1000 * 4096)
        let high = (time >> 12) << 16 | 0x7000 | time & 0x0FFF
        // Foundation's UUID() opens /dev/urandom each time, which costs more than everything else
        // that is done for an event.
        let low = 0b10 << 62 | UInt64.random(in: 0..<1 << 62)
        return withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }

    /// Reads a text of 8-4-4-4-12 hexadecimal digits, in either case. `UUID(uuidString:)` uses
    /// `sscanf`, which is slow and accepts spaces and signs as digits.
    public init?(text: String) {
        var digits: [UInt8] = []
        digits.reserveCapacity(32)
        for (place, byte) in text.utf8.enumerated() {
            switch (place, byte) {
            case (36..., _): return nil
            case (8, UInt8(ascii: "-")), (13, UInt8(ascii: "-")), (18, UInt8(ascii: "-")), (23, UInt8(ascii: "-")):
                break
            case (8, _), (13, _), (18, _), (23, _): return nil
            case (_, UInt8(ascii: "0")...UInt8(ascii: "9")): digits.append(byte - UInt8(ascii: "0"))
            case (_, UInt8(ascii: "a")...UInt8(ascii: "f")): digits.append(byte - UInt8(ascii: "a") + 10)
            case (_, UInt8(ascii: "A")...UInt8(ascii: "F")): digits.append(byte - UInt8(ascii: "A") + 10)
            default: return nil
            }
        }
        guard digits.count == 32 else { return nil }
        func half(_ digits: ArraySlice<UInt8>) -> UInt64 { digits.reduce(0) { $0 << 4 | UInt64($1) } }
        let bytes = (half(digits[..<16]).bigEndian, half(digits[16...]).bigEndian)
        self = withUnsafeBytes(of: bytes) { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }

    /// As Postgres writes it, in lower case.
    public var text: String {
        var text: [UInt8] = []
        append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends ``text``, without Foundation's upper-case string in between.
    func append(to text: inout [UInt8]) {
        text.append(addingCapacity: 36) { bytes in
            withUnsafeBytes(of: uuid) { uuid in
                for index in 0..<16 {
                    if index == 4 || index == 6 || index == 8 || index == 10 { bytes.append(UInt8(ascii: "-")) }
                    bytes.append(hexDigitsOf: uuid[index])
                }
            }
        }
    }
}
