/// Why two windows cannot make a crossover.
package enum WindowError: Error, Sendable, Equatable, CustomStringConvertible {
    case outOfRange(window: Int)
    case fastNotBelowSlow(fast: Int, slow: Int)

    package var description: String {
        switch self {
        case .outOfRange(let window):
            "a window of \(window) days is not from \(MovingAverageCrossover.acceptedWindows.lowerBound)"
                + " to \(MovingAverageCrossover.acceptedWindows.upperBound)"
        case .fastNotBelowSlow(let fast, let slow):
            "the fast window (\(fast)) must be shorter than the slow one (\(slow))"
        }
    }
}
