/// Why daily closes do not make a series.
public struct PriceSeriesError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The index of the day at fault; `nil` where the series as a whole is.
    public let index: Int?
    public let problem: PriceProblem

    public var description: String {
        guard let index else { return problem.description }
        return "day \(index): \(problem)"
    }
}
