/// Why daily closes cannot make a series.
package struct PriceSeriesError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The index of the wrong day; `nil` where the error is not about one day.
    package let index: Int?
    package let problem: PriceProblem

    package var description: String {
        guard let index else { return problem.description }
        return "day \(index): \(problem)"
    }
}
