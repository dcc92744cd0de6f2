/// A moment of the years 0 to 9999, to the microsecond. It is written as RFC 3339 in UTC, which has
/// no other years.
///
/// Postgres also has earlier and later years, and `infinity`. Such a value becomes the nearest
/// moment in range, so that every timestamp can be written and read again, and the difference of
/// any two exists.
public struct Timestamp: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Microseconds since 1970-01-01 00:00 UTC, within ``range``.
    public let microseconds: Int64

    /// From 0000-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z.
    public static let range: ClosedRange<Int64> = -62_167_219_200_000_000...253_402_300_799_999_999

    /// - Parameter microseconds: since 1970-01-01 00:00 UTC; values outside ``range`` become its
    ///   nearest end.
    public init(microseconds: Int64) {
        self.microseconds = min(max(microseconds, Self.range.lowerBound), Self.range.upperBound)
    }

    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.microseconds < b.microseconds }

    /// Reads RFC 3339 such as `2026-11-23T21:45:01.5+01:00`; `nil` for any other text. Digits below
    /// the microsecond are cut off.
    public init?(_ text: String) {
        var rest = text.utf8[...]
        func digits(_ count: Int) -> Int64? {
            let part = rest.prefix(count)
            guard part.count == count, part.allSatisfy(\.isDigit) else { return nil }
            rest = rest.dropFirst(count)
            return part.reduce(0) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) }
        }
        func skip(_ characters: String) -> UInt8? {
            guard let first = rest.first, characters.utf8.contains(first) else { return nil }
            rest = rest.dropFirst()
            return first
        }
        guard let year = digits(4), skip("-") != nil, let month = digits(2), skip("-") != nil, let day = digits(2),
            skip("Tt ") != nil, let hour = digits(2), skip(":") != nil, let minute = digits(2), skip(":") != nil,
            let second = digits(2), (1...12).contains(month), day >= 1, hour < 24, minute < 60, second < 60,
            day <= Self.days(inMonth: month, year: year)
        else { return nil }
        var fraction: Int64 = 0
        if skip(".") != nil {
            let part = rest.prefix { $0.isDigit }
            guard !part.isEmpty else { return nil }
            rest = rest.dropFirst(part.count)
            fraction = Int64((String(part)! + "000000").prefix(6))!
        }
        var zone: Int64 = 0
        guard let sign = skip("Zz+-") else { return nil }
        if sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") {
            guard let hours = digits(2), skip(":") != nil, let minutes = digits(2), hours < 24, minutes < 60 else {
                return nil
            }
            zone = (hours * 60 + minutes) * (sign == UInt8(ascii: "+") ? 60 : -60)
        }
        guard rest.isEmpty else { return nil }
        let seconds = Self.daysSinceEpoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zone
        let microseconds = seconds * 1_000_000 + fraction
        // The zone may move the time out of these years.
        guard Self.range.contains(microseconds) else { return nil }
        self.microseconds = microseconds
    }

    /// The problem with a text that is not a time, for its writer. It follows the option's name in
    /// a message.
    public static func problem(with text: String) -> String {
        let shown = text.shortened(toBytes: 60)
        let problem = "must be a time such as 2026-11-23T20:45:00Z, not \"\(shown)\""
        if Timestamp(text + "Z") != nil {
            return problem + ": add the time zone, Z for UTC or an offset such as +01:00"
        }
        // In a URL's query a plus means a space, so the zone's plus was lost.
        if let space = text.lastIndex(of: " "),
            Timestamp("\(text[..<space])+\(text[text.index(after: space)...])") != nil
        {
            return problem + ": in an address a + is a space; write %2B, or the time in UTC with a Z"
        }
        return problem
    }

    // The civil calendar, after Howard Hinnant's «chrono-Compatible Low-Level Date Algorithms»:
    // years start in March, so that the leap day is a year's last.

    private static func daysSinceEpoch(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let (era, yearOfEra) = y.flooredDivision(by: 400)
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    static func date(daysSinceEpoch days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = (days + 719_468).flooredDivision(by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted + (shifted < 10 ? 3 : -9)
        return (era * 400 + yearOfEra + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }

    private static func days(inMonth month: Int64, year: Int64) -> Int64 {
        let next = month == 12 ? daysSinceEpoch(year + 1, 1, 1) : daysSinceEpoch(year, month + 1, 1)
        return next - daysSinceEpoch(year, month, 1)
    }
}

extension UInt8 {
    var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
}

extension Int64 {
    func flooredDivision(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}
