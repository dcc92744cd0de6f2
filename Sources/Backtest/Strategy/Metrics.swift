/// The figures of a run.
///
/// Every figure is finite, unless prices swing so far that equity exceeds the range of a `Double`.
/// Such figures cannot be written as JSON.
package struct Metrics: Sendable, Equatable, Codable {
    /// The trading days of a year, by convention.
    package static let daysPerYear = 252.0

    /// Compound annual growth rate, a fraction (0.05 is 5 % a year): finalEquity^(252 / max(n,
    /// 252)) − 1 for n daily returns.
    ///
    /// Less than a year is not extrapolated: there it is the plain return, finalEquity − 1.
    package let cagr: Double

    /// Annualised Sharpe ratio at a risk-free rate of zero: mean(r) / sd(r) × √252.
    ///
    /// r are all daily returns, including the zeros of days in cash; sd is the sample standard
    /// deviation (divided by n − 1). Where sd is zero (a single return, all cash, constant growth)
    /// the ratio is undefined, and is 0 here: such a run must not win a ranking, and must not be
    /// null.
    package let sharpe: Double

    /// The deepest fall of equity below its highest earlier value, a fraction from 0 to 1: max over
    /// t of 1 − equity(t) / peak(t). Only closes count, and the start is the first peak.
    package let maxDrawdown: Double

    /// The number of entries: long days after a day in cash, or at the start. A position that is
    /// still open at the end counts.
    package let trades: Int

    /// The final value of one unit of money.
    package let finalEquity: Double

    /// Days long / days with a return, from 0 to 1.
    package let exposure: Double

    package init(cagr: Double, sharpe: Double, maxDrawdown: Double, trades: Int, finalEquity: Double, exposure: Double)
    {
        self.cagr = cagr
        self.sharpe = sharpe
        self.maxDrawdown = maxDrawdown
        self.trades = trades
        self.finalEquity = finalEquity
        self.exposure = exposure
    }

    private enum CodingKeys: String, CodingKey {
        case cagr
        case sharpe
        case maxDrawdown = "max_drawdown"
        case trades
        case finalEquity = "final_equity"
        case exposure
    }

    /// Writes six decimals. Further digits are only rounding errors, and a ledger keeps the figures
    /// for years.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(SixDecimals.round(cagr), forKey: .cagr)
        try container.encode(SixDecimals.round(sharpe), forKey: .sharpe)
        try container.encode(SixDecimals.round(maxDrawdown), forKey: .maxDrawdown)
        try container.encode(trades, forKey: .trades)
        try container.encode(SixDecimals.round(finalEquity), forKey: .finalEquity)
        try container.encode(SixDecimals.round(exposure), forKey: .exposure)
    }
}
