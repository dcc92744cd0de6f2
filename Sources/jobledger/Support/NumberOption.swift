import ArgumentParser
import LedgerCore

/// Options that are numbers. Each says from where to where it goes, so that whoever misses is told,
/// and no number comes further in that would be too large for what is done with it.
enum NumberOption {
    /// Reads the value of the option `name`: decimal digits, with a minus sign before them where
    /// the range has negative numbers.
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

    /// A position, or a number of positions.
    static func position(_ name: String, from first: Position = 0) -> @Sendable (String) throws -> Position {
        integer(name, first...Position.positions.upperBound)
    }

    static func rate(_ name: String, _ range: ClosedRange<Double>, _ unit: String)
        -> @Sendable (String) throws -> Double
    {
        { text in
            guard let rate = Double(text), range.contains(rate) else {
                throw ValidationError(
                    "\(name) must be \(unit), a number from \(range.lowerBound) to \(range.upperBound), not \(quoted(text))."
                )
            }
            return rate
        }
    }

    /// The beginning of a value, for messages.
    static func quoted(_ text: String) -> String { text.shortened(toBytes: 100) }
}
