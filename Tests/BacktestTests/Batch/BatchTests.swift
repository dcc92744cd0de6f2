import Backtest
import Testing

@Suite struct BatchTests {
    private func batch() throws -> Batch {
        try Batch(
            prices: [
                Prices.series(Prices.walk(days: 300), ticker: "a"), Prices.series(Prices.walk(days: 200), ticker: "b"),
            ],
            grid: VariableGrid(tickers: ["a", "b"], fastWindows: [2, 3, 5], slowWindows: [10, 20]))
    }

    @Test func rangesCoverEachRunOnce() throws {
        let batch = try batch()
        #expect(batch.ranges(of: 5) == [0..<5, 5..<10, 10..<12])
        #expect(batch.ranges(of: 12) == [0..<12])
        #expect(batch.ranges(of: 100) == [0..<12])
    }

    @Test func workersComputeWhatOneWouldAlone() async throws {
        let batch = try batch()
        let alone = batch.runs(in: 0..<batch.count)
        #expect(alone.map(\.index) == Array(0..<12))
        #expect(alone.map(\.variables) == batch.grid.indices.map { batch.grid[$0] })
        let together = await withTaskGroup(of: [Run].self) { group in
            for range in batch.ranges(of: 5) { group.addTask { batch.runs(in: range) } }
            return await group.reduce(into: []) { $0 += $1 }
        }
        #expect(together.sorted { $0.index < $1.index } == alone)
    }

    @Test func refusesAGridWithoutPrices() throws {
        let a = try Prices.series([1, 2], ticker: "a")
        let grid = try VariableGrid(tickers: ["a", "b"], fastWindows: [2], slowWindows: [10])
        #expect(throws: BatchError.noPrices(ticker: "b")) { try Batch(prices: [a], grid: grid) }
        #expect(throws: BatchError.pricesTwice(ticker: "a")) { try Batch(prices: [a, a], grid: grid) }
    }

    @Test func windowsLongerThanTheSeriesGiveARunInCash() throws {
        let a = try Prices.series([1, 2, 3], ticker: "a")
        let batch = try Batch(prices: [a], grid: VariableGrid(tickers: ["a"], fastWindows: [2], slowWindows: [10]))
        #expect(
            batch.run(at: 0).metrics
                == Metrics(cagr: 0, sharpe: 0, maxDrawdown: 0, trades: 0, finalEquity: 1, exposure: 0))
    }
}
