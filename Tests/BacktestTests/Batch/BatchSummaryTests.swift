import Backtest
import Testing

@Suite struct BatchSummaryTests {
    /// Buying and holding earns 1.25 − 1 = 0.25 here; the Sharpe ratio is beside the point.
    private func batch() throws -> Batch {
        try Batch(
            prices: [Prices.series([100, 110, 125], ticker: "a")],
            grid: VariableGrid(tickers: ["a"], fastWindows: [2], slowWindows: [10, 20, 30, 40]))
    }

    private func run(_ index: Int, cagr: Double, sharpe: Double) throws -> Run {
        Run(
            index: index, variables: try batch().grid[index],
            metrics: Metrics(cagr: cagr, sharpe: sharpe, maxDrawdown: 0, trades: 1, finalEquity: 1 + cagr, exposure: 1))
    }

    @Test func bestAndMedian() throws {
        let runs = [
            try run(3, cagr: 0.3, sharpe: 0.9),
            try run(2, cagr: 0.1, sharpe: 2.0),
            try run(1, cagr: 0.3, sharpe: 1.0),
            try run(0, cagr: 0.2, sharpe: 0.4),
        ]
        let summary = try #require(try batch().summary(of: runs))
        #expect(summary.runs == 4)
        #expect(summary.bestBySharpe.index == 2)
        // Runs 1 and 3 are equal; the lower index wins, whatever the order they came in.
        #expect(summary.bestByCAGR.index == 1)
        // Sorted 0.4, 0.9, 1.0, 2.0: (0.9 + 1.0) / 2.
        #expect(abs(summary.medianSharpe - 0.95) < 1e-12)
        // Sorted 0.1, 0.2, 0.3, 0.3: (0.2 + 0.3) / 2.
        #expect(abs(summary.medianCAGR - 0.25) < 1e-12)
        // Of three: the one in the middle of 0.9, 1.0, 2.0.
        #expect(try batch().summary(of: Array(runs[..<3]))?.medianSharpe == 1.0)
    }

    @Test func comparesWithBuyAndHold() throws {
        let runs = [
            try run(0, cagr: 0.3, sharpe: 1), try run(1, cagr: 0.2, sharpe: 1), try run(2, cagr: 0.26, sharpe: 1),
        ]
        let summary = try #require(try batch().summary(of: runs))
        let ticker = try #require(summary.tickers.first)
        #expect(summary.tickers.count == 1)
        #expect(ticker.ticker == "a")
        #expect(abs(ticker.buyAndHold.cagr - 0.25) < 1e-12)
        #expect(ticker.buyAndHold.trades == 1)
        #expect(ticker.buyAndHold.exposure == 1)
        #expect(ticker.runs == 3)
        #expect(ticker.runsAheadByCAGR == 2)
    }

    @Test func noRunsGiveNoSummary() throws {
        #expect(try batch().summary(of: []) == nil)
    }
}
