/// The result of a batch. The best of thousands of runs over the same past is chosen with
/// hindsight. The medians and buy-and-hold stand beside it, so that nobody takes it for a forecast.
package struct BatchSummary: Sendable, Equatable, Encodable {
    /// The number of runs in this summary.
    package let runs: Int

    /// Of equal runs, the one with the lowest index. The same holds for ``bestByCAGR``.
    package let bestBySharpe: Run
    package let bestByCAGR: Run

    /// The middle value, or the mean of the two in the middle.
    package let medianSharpe: Double
    package let medianCAGR: Double

    /// In the order of the grid.
    package let tickers: [TickerComparison]

    /// `nil` where there are no runs.
    init?(_ runs: [Run], of batch: Batch) {
        guard let bestBySharpe = Self.best(of: runs, by: \.sharpe), let bestByCAGR = Self.best(of: runs, by: \.cagr)
        else {
            return nil
        }
        self.runs = runs.count
        self.bestBySharpe = bestBySharpe
        self.bestByCAGR = bestByCAGR
        medianSharpe = Self.median(runs.map(\.metrics.sharpe))
        medianCAGR = Self.median(runs.map(\.metrics.cagr))
        let byTicker = Dictionary(grouping: runs, by: \.variables.ticker)
        tickers = batch.grid.tickers.compactMap { ticker in
            batch.prices[ticker].map { TickerComparison($0, runs: byTicker[ticker] ?? []) }
        }
    }

    private static func best(of runs: [Run], by figure: KeyPath<Metrics, Double>) -> Run? {
        runs.max { left, right in
            let (low, high) = (left.metrics[keyPath: figure], right.metrics[keyPath: figure])
            return low == high ? left.index > right.index : low < high
        }
    }

    private static func median(_ figures: [Double]) -> Double {
        let sorted = figures.sorted()
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }

    private enum CodingKeys: String, CodingKey {
        case runs
        case bestBySharpe = "best_by_sharpe"
        case bestByCAGR = "best_by_cagr"
        case medianSharpe = "median_sharpe"
        case medianCAGR = "median_cagr"
        case tickers
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(runs, forKey: .runs)
        try container.encode(bestBySharpe, forKey: .bestBySharpe)
        try container.encode(bestByCAGR, forKey: .bestByCAGR)
        try container.encode(SixDecimals.round(medianSharpe), forKey: .medianSharpe)
        try container.encode(SixDecimals.round(medianCAGR), forKey: .medianCAGR)
        try container.encode(tickers, forKey: .tickers)
    }
}

extension Batch {
    /// Summarises runs of this batch, in any order; `nil` where there are none.
    package func summary(of runs: [Run]) -> BatchSummary? {
        BatchSummary(runs, of: self)
    }
}
