/// Why daily closes do not make a series.
package struct PriceSeriesError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The index of the day at fault; `nil` where the series as a whole is.
    package let index: Int?
    package let problem: PriceProblem

    package var description: String {
        guard let index else { return problem.description }
        return "day \(index): \(problem)"
    }
}
