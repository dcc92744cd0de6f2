extension Timestamp {
    /// `2026-11-23T20:45:01.5Z`: the fraction as long as it needs to be, none where it is zero.
    public var description: String {
        var text: [UInt8] = []
        append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends ``description``, digit by digit: a relay writes two of these an event.
    func append(to text: inout [UInt8]) {
        let (seconds, fraction) = microseconds.flooredDivision(by: 1_000_000)
        let (days, second) = seconds.flooredDivision(by: 86_400)
        let (year, month, day) = Self.date(daysSinceEpoch: days)
        if year < 0 { text.append(UInt8(ascii: "-")) }
        text.append(digitsOf: year.magnitude, atLeast: 4)
        var rest: InlineArray<23, UInt8> = Self.template
        rest.put(month, 2, at: 1)
        rest.put(day, 2, at: 4)
        rest.put(second / 3600, 2, at: 7)
        rest.put(second / 60 % 60, 2, at: 10)
        rest.put(second % 60, 2, at: 13)
        var end = 15
        if fraction != 0 {
            rest.put(fraction, 6, at: 16)
            end = 22
            while rest[end - 1] == UInt8(ascii: "0") { end -= 1 }
        }
        rest[end] = UInt8(ascii: "Z")
        text.append(rest.span.extracting(...end))
    }

    /// What follows the year.
    private static let template: InlineArray<23, UInt8> = {
        var bytes = InlineArray<23, UInt8>(repeating: 0)
        for (index, byte) in "-00-00T00:00:00.000000Z".utf8.enumerated() { bytes[index] = byte }
        return bytes
    }()
}

extension InlineArray<23, UInt8> {
    /// Writes `number` in so many digits.
    fileprivate mutating func put(_ number: Int64, _ width: Int, at place: Int) {
        var rest = number
        for index in (place..<place + width).reversed() {
            self[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }
}

extension [UInt8] {
    /// Appends `number` in decimal, with leading zeros up to `width` digits, 20 at most.
    mutating func append(digitsOf number: UInt64, atLeast width: Int = 1) {
        var digits = InlineArray<20, UInt8>(repeating: UInt8(ascii: "0"))
        var start = digits.count
        var rest = number
        repeat {
            start -= 1
            digits[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        append(digits.span.extracting(Swift.min(start, digits.count - width)...))
    }

    /// Appends bytes in one go: byte by byte, each would be asked whether there is room for it.
    mutating func append(_ bytes: Span<UInt8>) {
        // Valid within the closure, which copies.
        bytes.withUnsafeBufferPointer { append(contentsOf: $0) }
    }
}
