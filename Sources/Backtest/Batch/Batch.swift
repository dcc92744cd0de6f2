/// A backtest of every assignment of a grid.
///
/// It has no mutable state. So any number of threads may compute runs of the same batch at once,
/// and an index always gives the same run.
package struct Batch: Sendable {
    package let grid: VariableGrid

    /// The series of each ticker of the grid.
    let prices: [String: PriceSeries]  // plain: tickers of the example

    /// - Parameter prices: at least those of the grid's tickers.
    package init(prices: [PriceSeries], grid: VariableGrid) throws(BatchError) {
        var byTicker: [String: PriceSeries] = [:]  // plain: tickers of the example
        for series in prices {
            guard byTicker.updateValue(series, forKey: series.ticker) == nil else {
                throw .pricesTwice(ticker: series.ticker)
            }
        }
        for ticker in grid.tickers where byTicker[ticker] == nil {
            throw .noPrices(ticker: ticker)
        }
        self.grid = grid
        self.prices = byTicker
    }

    /// The number of runs.
    package var count: Int { grid.count }

    /// The run indices in ranges of `size` runs, as shares for workers. The last range may be
    /// shorter.
    package func ranges(of size: Int) -> [Range<Int>] {
        precondition(size > 0, "a range needs a run")
        return stride(from: 0, to: count, by: size).map { $0..<min($0 + size, count) }
    }

    /// Computes runs, in order. It blocks, for a time in proportion to runs × days.
    /// - Parameter range: within `0..<count`.
    package func runs(in range: Range<Int>) -> [Run] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "runs \(range) of \(count)")
        return range.map { run(at: $0) }
    }

    /// Computes one run.
    package func run(at index: Int) -> Run {
        let assignment = grid[index]
        guard let series = prices[assignment.ticker],
            let crossover = try? MovingAverageCrossover(fast: assignment.fast, slow: assignment.slow)
        else {
            // Both were checked for every assignment when the grid and the batch were made.
            preconditionFailure("run \(index) is not in its own batch")
        }
        let curve = EquityCurve(of: series, following: crossover.positions(over: series))
        return Run(index: index, variables: assignment, metrics: Metrics(of: curve))
    }
}
