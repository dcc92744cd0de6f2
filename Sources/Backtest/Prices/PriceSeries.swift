/// The daily closes of one ticker, oldest first: at least two days, dates strictly increasing,
/// prices above zero.
package struct PriceSeries: Sendable {
    /// The closes that are accepted, in the unit of the series. A file with others is more likely
    /// broken than right.
    package static let acceptedCloses: ClosedRange<Double> = 0.0001...10_000_000

    /// Ticks in a price unit. Signals compare whole ticks: see ``tickTotals``.
    static let ticksPerUnit = 10_000.0

    package let ticker: String
    package let days: [TradingDay]

    /// The price of each of ``days``.
    package let closes: [Double]

    /// `tickTotals[n]` is the sum of the first n closes in ticks, so the sum of any window is one
    /// subtraction.
    ///
    /// The totals are whole numbers, because floating-point totals accumulate rounding errors: on
    /// flat prices, two equal averages would differ in the last bit, and noise would decide the
    /// position.
    let tickTotals: [Int]

    package init(ticker: String, _ dailyCloses: [DailyClose]) throws(PriceSeriesError) {
        guard dailyCloses.count >= 2 else {
            throw PriceSeriesError(index: nil, problem: .tooFewDays(found: dailyCloses.count))
        }
        var days: [TradingDay] = []
        var closes: [Double] = []
        var tickTotals = [0]
        days.reserveCapacity(dailyCloses.count)
        closes.reserveCapacity(dailyCloses.count)
        tickTotals.reserveCapacity(dailyCloses.count + 1)

        var total = 0
        for (index, close) in dailyCloses.enumerated() {
            if let previous = days.last, close.day <= previous {
                throw PriceSeriesError(index: index, problem: .notAfter(previous: previous, found: close.day))
            }
            guard Self.acceptedCloses.contains(close.price) else {
                throw PriceSeriesError(index: index, problem: .close(found: String(close.price)))
            }
            days.append(close.day)
            closes.append(close.price)
            total += Int((close.price * Self.ticksPerUnit).rounded())
            tickTotals.append(total)
        }
        self.ticker = ticker
        self.days = days
        self.closes = closes
        self.tickTotals = tickTotals
    }
}
