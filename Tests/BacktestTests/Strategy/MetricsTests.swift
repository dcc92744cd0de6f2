import Backtest
import Testing

@Suite struct MetricsTests {
    private func hold(_ closes: [Double]) throws -> Metrics {
        Metrics(of: .buyAndHold(try Prices.series(closes)))
    }

    @Test func drawdownIsMeasuredFromTheHighestEarlierClose() throws {
        // The peak before 90 is 120: 1 − 90/120 = 0.25. The later high of 130 changes nothing.
        #expect(abs(try hold([100, 120, 90, 130]).maxDrawdown - 0.25) < 1e-12)
        // The start is a peak as well: 1 − 80/100.
        #expect(abs(try hold([100, 80, 90]).maxDrawdown - 0.2) < 1e-12)
        #expect(try hold([100, 110, 121]).maxDrawdown == 0)
    }

    @Test func growthIsCompoundedOver252DaysAYear() throws {
        // n returns, flat but for a doubling in the last.
        func doubling(in returns: Int) -> [Double] { [Double](repeating: 100, count: returns) + [200] }
        // One year: 2^(252/252) − 1.
        #expect(abs(try hold(doubling(in: 252)).cagr - 1) < 1e-12)
        // Two years: 2^(252/504) − 1 = √2 − 1.
        #expect(abs(try hold(doubling(in: 504)).cagr - 0.414213562373) < 1e-9)
        // Half a year is not blown up to 2^2 − 1 = 3.
        #expect(abs(try hold(doubling(in: 126)).cagr - 1) < 1e-12)
    }

    @Test func sharpeOfFourReturns() throws {
        // Returns 0.1, −0.1, 0.2, 0: the mean is 0.05, the deviations 0.05, −0.15, 0.15, −0.05,
        // their squares sum to 0.05, the sample variance is 0.05/3.
        // mean / sd = √(0.0025 / (0.05/3)) = √0.15; annualised √(0.15 × 252) = √37.8 = 6.148170…
        #expect(abs(try hold([100, 110, 99, 118.8, 118.8]).sharpe - 6.148170) < 1e-6)
    }

    @Test(arguments: [
        [100.0, 110],  // one return has no sample deviation
        [100, 100, 100, 100],  // nothing happens
        [100, 110, 121, 133.1, 146.41],  // 10 % each day, but for rounding
    ])
    func sharpeIsZeroWhereReturnsDoNotVary(closes: [Double]) throws {
        #expect(try hold(closes).sharpe == 0)
    }

    @Test func cashEarnsNothing() throws {
        let series = try Prices.series([100, 120, 90])
        let metrics = Metrics(of: EquityCurve(of: series, following: [false, false]))
        #expect(metrics == Metrics(cagr: 0, sharpe: 0, maxDrawdown: 0, trades: 0, finalEquity: 1, exposure: 0))
    }

    @Test func entriesAndDaysLongAreCounted() throws {
        let series = try Prices.series([10, 10, 10, 10, 10, 10, 10])
        // Entries at the start, after one day in cash, and at the last decision.
        let metrics = Metrics(of: EquityCurve(of: series, following: [true, false, true, true, false, true]))
        #expect(metrics.trades == 3)
        #expect(abs(metrics.exposure - 4.0 / 6) < 1e-12)
    }
}
