import ArgumentParser
import LedgerCore

/// Options that are numbers. Each has a range, which its error message names. So no number reaches
/// the code behind it that would overflow there.
enum NumberOption {
    /// Parses the value of the option `name`: decimal digits, and a minus sign if the range has
    /// negative numbers.
    static func integer<Number: FixedWidthInteger & Sendable>(
        _ name: String, _ range: ClosedRange<Number>
    ) -> @Sendable (String) throws -> Number {
        { text in
            guard let number = Number(decimal: text), range.contains(number) else {
                throw ValidationError(
                    "\(name) must be an integer from \(range.lowerBound) to \(range.upperBound), not \(quoted(text)).")
            }
            return number
        }
    }

    /// Parses a position, or a number of positions.
    static func position(_ name: String, from first: Position = 0) -> @Sendable (String) throws -> Position {
        integer(name, first...Position.positions.upperBound)
    }

    /// Parses a position, or a place such as `1207.3f2a9c1e`.
    static func place(_ name: String) -> @Sendable (String) throws -> Place {
        { text in
            guard text.contains(".") else { return Place(try position(name)(text)) }
            guard let place = Place(text) else {
                throw ValidationError(
                    "\(name) must be a position, or a place such as 1207.3f2a9c1e, not \(quoted(text)).")
            }
            return place
        }
    }

    /// Parses a decimal number of something a second, such as `0.1`.
    static func rate(_ name: String, _ range: ClosedRange<Double>, _ unit: String)
        -> @Sendable (String) throws -> Double
    {
        { text in
            guard let rate = Double(text), range.contains(rate) else {
                throw ValidationError(
                    "\(name) must be \(unit), a number from \(range.lowerBound) to \(range.upperBound), "
                        + "not \(quoted(text)).")
            }
            return rate
        }
    }

    /// The beginning of a value, short enough for a message.
    static func quoted(_ text: String) -> String { text.shortened(toBytes: 100) }
}
