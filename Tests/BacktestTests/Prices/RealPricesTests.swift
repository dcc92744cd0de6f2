import Backtest
import Testing

/// The figures were worked out from the same files by a Python program that shares nothing with
/// this library: decimal prices, averages summed afresh each day, `math.fsum`.
@Suite struct RealPricesTests {
    private func expect(_ metrics: Metrics, equals expected: Metrics, within tolerance: Double = 1e-9) {
        #expect(abs(metrics.cagr - expected.cagr) < tolerance)
        #expect(abs(metrics.sharpe - expected.sharpe) < tolerance)
        #expect(abs(metrics.maxDrawdown - expected.maxDrawdown) < tolerance)
        #expect(metrics.trades == expected.trades)
        #expect(abs(metrics.finalEquity - expected.finalEquity) < tolerance)
        #expect(abs(metrics.exposure - expected.exposure) < tolerance)
    }

    @Test(arguments: ["sp500", "nasdaq"])
    func twentyYearsOfDays(ticker: String) throws {
        let series = try Prices.real(ticker)
        #expect(series.ticker == ticker)
        #expect(series.closes.count == 5_031)
        #expect(series.days.first?.description == "1999-01-04")
        #expect(series.days.last?.description == "2018-12-31")
    }

    @Test func holdingTheSP500() throws {
        let series = try Prices.real("sp500")
        // The deepest fall: 1565.15 on 2007-10-09 to 676.53 on 2009-03-09.
        expect(
            Metrics(of: .buyAndHold(series)),
            equals: Metrics(
                cagr: 0.03639554022401059, sharpe: 0.282739219047999, maxDrawdown: 0.5677538894035716, trades: 1,
                finalEquity: 2.0412425698233045, exposure: 1))
    }

    @Test func holdingTheNasdaq() throws {
        // The deepest fall: 2000-03-10 to 2002-10-09.
        expect(
            Metrics(of: .buyAndHold(try Prices.real("nasdaq"))),
            equals: Metrics(
                cagr: 0.05667155731605966, sharpe: 0.3442152788576873, maxDrawdown: 0.7793238548355789, trades: 1,
                finalEquity: 3.0050406467244852, exposure: 1))
    }

    @Test(arguments: [
        (
            Assignment(ticker: "sp500", fast: 20, slow: 100),
            Metrics(
                cagr: 0.023059240707703488, sharpe: 0.2613757996555719, maxDrawdown: 0.3559266774859944, trades: 32,
                finalEquity: 1.5762415121806617, exposure: 0.6530815109343936)
        ),
        (
            Assignment(ticker: "sp500", fast: 2, slow: 42),
            Metrics(
                cagr: 0.006092629746690781, sharpe: 0.1105200214489835, maxDrawdown: 0.4048407795176042, trades: 149,
                finalEquity: 1.1288979111524606, exposure: 0.6157057654075546)
        ),
        (
            Assignment(ticker: "nasdaq", fast: 26, slow: 200),
            Metrics(
                cagr: 0.07518948081331889, sharpe: 0.5572814479261532, maxDrawdown: 0.43587212388486674, trades: 15,
                finalEquity: 4.250604822481264, exposure: 0.6473161033797217)
        ),
    ])
    func crossovers(variables: Assignment, expected: Metrics) throws {
        let grid = try VariableGrid(
            tickers: [variables.ticker], fastWindows: [variables.fast], slowWindows: [variables.slow])
        let batch = try Batch(prices: [Prices.real(variables.ticker)], grid: grid)
        expect(batch.run(at: 0).metrics, equals: expected)
    }
}
