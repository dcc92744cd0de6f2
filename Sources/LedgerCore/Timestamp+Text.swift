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
        text.append(UInt8(ascii: "-"))
        text.append(digitsOf: month.magnitude, atLeast: 2)
        text.append(UInt8(ascii: "-"))
        text.append(digitsOf: day.magnitude, atLeast: 2)
        text.append(UInt8(ascii: "T"))
        text.append(digitsOf: (second / 3600).magnitude, atLeast: 2)
        text.append(UInt8(ascii: ":"))
        text.append(digitsOf: (second / 60 % 60).magnitude, atLeast: 2)
        text.append(UInt8(ascii: ":"))
        text.append(digitsOf: (second % 60).magnitude, atLeast: 2)
        if fraction != 0 {
            text.append(UInt8(ascii: "."))
            text.append(digitsOf: fraction.magnitude, atLeast: 6)
            while text.last == UInt8(ascii: "0") { text.removeLast() }
        }
        text.append(UInt8(ascii: "Z"))
    }
}

extension [UInt8] {
    /// Appends `number` in decimal, with leading zeros up to `width` digits.
    mutating func append(digitsOf number: UInt64, atLeast width: Int = 1) {
        let start = count
        var rest = number
        repeat {
            append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0 || count - start < width
        // The last digit came first.
        var (left, right) = (start, count - 1)
        while left < right {
            swapAt(left, right)
            (left, right) = (left + 1, right - 1)
        }
    }
}
