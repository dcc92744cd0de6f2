import Texts

/// An event's place in the log: 1, 2, 3 … with no gap. 0 is the place before the first.
///
/// It is a plain number, so SQL, JSON and arithmetic can use it directly. Arithmetic cannot
/// overflow, because positions from outside are limited to `positions`: the sum and the difference
/// of any two of those exist. See docs/decisions/0016-numbers-from-outside.md.
public typealias Position = Int64

extension Position {
    /// The positions that a log can have, and 0: up to 2⁶² − 1. With one append per microsecond a
    /// log reaches it after 146,000 years.
    public static let positions: ClosedRange<Position> = 0...Int64.largestAccepted

    /// Reads a position: decimal digits and nothing else. `nil` for any other text, and beyond
    /// ``positions``.
    public init?(position text: some StringProtocol) {
        guard let number = Position(decimal: text), Self.positions.contains(number) else { return nil }
        self = number
    }
}

extension FixedWidthInteger {
    /// Reads the digits 0–9, after a minus sign if the number is negative. `nil` for any other
    /// text, and if the number does not fit.
    ///
    /// Unlike `Int("+5")`, it refuses a plus sign: a `+` in a query string means a space.
    public init?(decimal text: some StringProtocol) {
        guard text.utf8.first != UInt8(ascii: "+") else { return nil }
        self.init(text, radix: 10)
    }
}
