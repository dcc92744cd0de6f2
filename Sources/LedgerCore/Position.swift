/// An event's place in the log: 1, 2, 3 … with no gap. 0 is the place before the first.
///
/// It is a plain number, so that SQL, JSON and arithmetic need no words for it. What keeps that
/// arithmetic from overflowing is where positions come from: whatever reads one from outside lets
/// none pass beyond `positions`, and the sum and the difference of any two of those exist. See
/// docs/decisions/0016-numbers-from-outside.md.
public typealias Position = Int64

extension Position {
    /// The positions that a log can have, and 0: up to 2⁶² − 1. An append a microsecond comes there
    /// after 146,000 years.
    public static let positions: ClosedRange<Position> = 0...(1 << 62) - 1

    /// A position as people and programs write it: decimal digits and nothing else. `nil` for
    /// anything else, and beyond ``positions``.
    public init?(position text: some StringProtocol) {
        guard let number = Position(decimal: text), Self.positions.contains(number) else { return nil }
        self = number
    }
}

extension FixedWidthInteger {
    /// From the digits 0–9, behind a minus sign where the number is negative. `nil` for anything
    /// else, and for what does not fit.
    ///
    /// `Int("+5")` is 5, and who sends a `+` in a query has sent a space: there is one way to write
    /// a number here.
    public init?(decimal text: some StringProtocol) {
        guard text.utf8.first != UInt8(ascii: "+") else { return nil }
        self.init(text, radix: 10)
    }
}
