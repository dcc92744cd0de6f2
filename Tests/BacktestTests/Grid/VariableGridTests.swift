import Backtest
import Testing

@Suite struct VariableGridTests {
    @Test func tickerChangesSlowestAndSlowFastest() throws {
        let grid = try VariableGrid(tickers: ["a", "b"], fastWindows: [2, 3], slowWindows: [10, 20, 30])
        #expect(grid.count == 12)
        let assignments = grid.indices.map { grid[$0] }
        #expect(
            assignments.map { "\($0.ticker) \($0.fast) \($0.slow)" } == [
                "a 2 10", "a 2 20", "a 2 30", "a 3 10", "a 3 20", "a 3 30",
                "b 2 10", "b 2 20", "b 2 30", "b 3 10", "b 3 20", "b 3 30",
            ])
        #expect(grid.preview(5) == Array(assignments[..<5]))
        #expect(grid.preview() == assignments)
    }

    @Test func theVariablesCountsMultiplyToTheRuns() throws {
        let grid = try VariableGrid.standard(tickers: ["sp500", "nasdaq"])
        #expect(grid.variables.map(\.name) == ["ticker", "fast", "slow"])
        #expect(grid.variables.map(\.count) == [2, 25, 80])
        #expect(grid.count == 4_000)
        #expect(Set(grid.indices.map { grid[$0] }).count == 4_000)
        #expect(grid[0] == Assignment(ticker: "sp500", fast: 2, slow: 42))
        #expect(grid[3_999] == Assignment(ticker: "nasdaq", fast: 26, slow: 200))
    }

    @Test func variablesAsJSON() throws {
        let grid = try VariableGrid(tickers: ["a"], fastWindows: [2, 3], slowWindows: [10])
        #expect(
            try grid.variables.map { try $0.json() } == [
                #"{"count":1,"name":"ticker","values":["a"]}"#,
                #"{"count":2,"name":"fast","values":[2,3]}"#,
                #"{"count":1,"name":"slow","values":[10]}"#,
            ])
    }

    @Test func refusesAGridWithInvalidRuns() {
        #expect(throws: GridError.noValues(variable: "fast")) {
            try VariableGrid(tickers: ["a"], fastWindows: [], slowWindows: [10])
        }
        #expect(throws: GridError.repeated(variable: "ticker", value: "a")) {
            try VariableGrid(tickers: ["a", "a"], fastWindows: [2], slowWindows: [10])
        }
        #expect(throws: GridError.windows(.fastNotBelowSlow(fast: 10, slow: 10))) {
            try VariableGrid(tickers: ["a"], fastWindows: [2, 10], slowWindows: [10, 20])
        }
        #expect(throws: GridError.windows(.outOfRange(window: 0))) {
            try VariableGrid(tickers: ["a"], fastWindows: [0], slowWindows: [10])
        }
    }
}
