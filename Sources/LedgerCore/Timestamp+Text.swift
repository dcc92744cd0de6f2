extension Timestamp {
    /// `2026-11-23T20:45:01.5Z`. The fraction has as many digits as it needs, and none if it is
    /// zero.
    public var description: String {
        var text: [UInt8] = []
        append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends ``description``.
    func append(to text: inout [UInt8]) {
        let (seconds, fraction) = microseconds.flooredDivision(by: 1_000_000)
        let (days, second) = seconds.flooredDivision(by: 86_400)
        let (year, month, day) = Self.date(daysSinceEpoch: days)
        text.append(addingCapacity: 40) { bytes in
            bytes.append(twoDigits: year / 100)
            bytes.append(twoDigits: year % 100)
            bytes.append(UInt8(ascii: "-"))
            bytes.append(twoDigits: month)
            bytes.append(UInt8(ascii: "-"))
            bytes.append(twoDigits: day)
            bytes.append(UInt8(ascii: "T"))
            bytes.append(twoDigits: second / 3600)
            bytes.append(UInt8(ascii: ":"))
            bytes.append(twoDigits: second / 60 % 60)
            bytes.append(UInt8(ascii: ":"))
            bytes.append(twoDigits: second % 60)
            if fraction != 0 {
                bytes.append(UInt8(ascii: "."))
                bytes.append(twoDigits: fraction / 10_000)
                bytes.append(twoDigits: fraction / 100 % 100)
                bytes.append(twoDigits: fraction % 100)
                var rest = fraction
                while rest % 10 == 0 {
                    _ = bytes.removeLast()
                    rest /= 10
                }
            }
            bytes.append(UInt8(ascii: "Z"))
        }
    }
}
