/// Every combination of tickers, fast and slow windows. Each of them is a valid crossover, so the
/// number of runs is exactly the product of the numbers of values. A ledger computes the total of a
/// job in the same way.
///
/// The index of a run depends on the order: the ticker changes slowest, the slow window fastest.
package struct VariableGrid: Sendable, Hashable {
    package let tickers: [String]
    package let fastWindows: [Int]
    package let slowWindows: [Int]

    /// - Throws: where a variable has no values or the same value twice, and where a fast window is
    ///   not below every slow one.
    package init(tickers: [String], fastWindows: [Int], slowWindows: [Int]) throws(GridError) {
        try Self.check(tickers, of: "ticker")
        try Self.check(fastWindows, of: "fast")
        try Self.check(slowWindows, of: "slow")
        for fast in fastWindows {
            for slow in slowWindows {
                do throws(WindowError) { _ = try MovingAverageCrossover(fast: fast, slow: slow) } catch {
                    throw .windows(error)
                }
            }
        }
        self.tickers = tickers
        self.fastWindows = fastWindows
        self.slowWindows = slowWindows
    }

    /// 2,000 runs a ticker: fast 2, 3 … 26 by slow 42, 44 … 200.
    package static func standard(tickers: [String]) throws(GridError) -> VariableGrid {
        try VariableGrid(
            tickers: tickers, fastWindows: Array(2...26), slowWindows: Array(stride(from: 42, through: 200, by: 2)))
    }

    /// The number of runs.
    package var count: Int { tickers.count * fastWindows.count * slowWindows.count }

    /// The run indices, from 0.
    package var indices: Range<Int> { 0..<count }

    /// The assignment of a run.
    package subscript(runIndex: Int) -> Assignment {
        precondition(indices.contains(runIndex), "run \(runIndex) of \(count)")
        let (rest, slow) = runIndex.quotientAndRemainder(dividingBy: slowWindows.count)
        let (ticker, fast) = rest.quotientAndRemainder(dividingBy: fastWindows.count)
        return Assignment(ticker: tickers[ticker], fast: fastWindows[fast], slow: slowWindows[slow])
    }

    /// The first assignments, in order, for the preview of a job.
    package func preview(_ limit: Int = 25) -> [Assignment] {
        indices.prefix(limit).map { self[$0] }
    }

    private static func check<Value: Hashable>(_ values: [Value], of variable: String) throws(GridError) {
        guard !values.isEmpty else { throw .noValues(variable: variable) }
        var seen: Set<Value> = []
        for value in values where !seen.insert(value).inserted {
            throw .repeated(variable: variable, value: "\(value)")
        }
    }
}
