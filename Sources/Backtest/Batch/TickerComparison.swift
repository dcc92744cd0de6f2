/// Compares the runs of a ticker with buying and holding it.
package struct TickerComparison: Sendable, Equatable, Encodable {
    package let ticker: String
    package let firstDay: TradingDay
    package let lastDay: TradingDay
    package let buyAndHold: Metrics

    /// The number of runs of this ticker.
    package let runs: Int

    /// The number of runs with a higher Sharpe ratio than buy and hold.
    package let runsAheadBySharpe: Int

    /// The number of runs with a higher growth rate than buy and hold.
    package let runsAheadByCAGR: Int

    init(_ prices: PriceSeries, runs: [Run]) {
        let hold = Metrics(of: .buyAndHold(prices))
        ticker = prices.ticker
        firstDay = prices.days[0]
        lastDay = prices.days[prices.days.count - 1]
        buyAndHold = hold
        self.runs = runs.count
        runsAheadBySharpe = runs.count { $0.metrics.sharpe > hold.sharpe }
        runsAheadByCAGR = runs.count { $0.metrics.cagr > hold.cagr }
    }

    private enum CodingKeys: String, CodingKey {
        case ticker
        case firstDay = "first_day"
        case lastDay = "last_day"
        case buyAndHold = "buy_and_hold"
        case runs
        case runsAheadBySharpe = "runs_ahead_by_sharpe"
        case runsAheadByCAGR = "runs_ahead_by_cagr"
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(ticker, forKey: .ticker)
        try container.encode(firstDay.description, forKey: .firstDay)
        try container.encode(lastDay.description, forKey: .lastDay)
        try container.encode(buyAndHold, forKey: .buyAndHold)
        try container.encode(runs, forKey: .runs)
        try container.encode(runsAheadBySharpe, forKey: .runsAheadBySharpe)
        try container.encode(runsAheadByCAGR, forKey: .runsAheadByCAGR)
    }
}
