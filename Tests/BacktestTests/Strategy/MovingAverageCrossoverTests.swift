import Backtest
import Testing

@Suite struct MovingAverageCrossoverTests {
    @Test func everyPositionOfATinySeries() throws {
        let series = try Prices.series([10, 11, 12, 11, 9, 10, 12, 13])
        let positions = try MovingAverageCrossover(fast: 2, slow: 3).positions(over: series)
        // t   close   SMA(2)   SMA(3)      position
        // 0   10      –        –           cash: three closes are not known yet
        // 1   11      10.5     –           cash
        // 2   12      11.5     33/3 = 11   long
        // 3   11      11.5     34/3 ≈ 11.3 long
        // 4    9      10       32/3 ≈ 10.7 cash
        // 5   10       9.5     30/3 = 10   cash
        // 6   12      11       31/3 ≈ 10.3 long
        // 7   13      the last close: there is no next day
        #expect(positions == [false, false, true, true, false, false, true])

        // Long from 12 over 11 to 9, and from 12 to 13: 1 × 11/12 × 9/11 × 13/12 = 0.8125.
        let curve = EquityCurve(of: series, following: positions)
        let expected = [1, 1, 1, 11.0 / 12, 0.75, 0.75, 0.75, 0.8125]
        #expect(curve.values.count == expected.count)
        for (value, expected) in zip(curve.values, expected) { #expect(abs(value - expected) < 1e-12) }

        let metrics = Metrics(of: curve)
        #expect(metrics.trades == 2)
        #expect(abs(metrics.exposure - 3.0 / 7) < 1e-12)
        #expect(abs(metrics.maxDrawdown - 0.25) < 1e-12)
        #expect(abs(metrics.finalEquity - 0.8125) < 1e-12)
        // Seven days are less than a year: the plain return.
        #expect(abs(metrics.cagr + 0.1875) < 1e-12)
    }

    @Test func equalAveragesMeanCash() throws {
        // Tenths are not exact in binary; running totals of them would tip a tie either way.
        let flat = try Prices.series([Double](repeating: 0.1, count: 500))
        let afterARise = try Prices.series([7.3] + [Double](repeating: 0.1, count: 500))
        let crossover = try MovingAverageCrossover(fast: 3, slow: 7)
        #expect(!crossover.positions(over: flat).contains(true))
        #expect(!crossover.positions(over: afterARise).contains(true))
    }

    @Test func aSeriesShorterThanTheSlowWindowIsAllCash() throws {
        let crossover = try MovingAverageCrossover(fast: 1, slow: 5)
        #expect(crossover.positions(over: try Prices.series([1, 2, 3])) == [false, false])
        // Five closes allow a first decision, but only a sixth gives it a day to earn on.
        #expect(crossover.positions(over: try Prices.series([1, 2, 3, 4, 5])) == [false, false, false, false])
        #expect(
            crossover.positions(over: try Prices.series([1, 2, 3, 4, 5, 6])) == [false, false, false, false, true])
    }

    @Test func theFutureDoesNotChangeThePast() throws {
        let closes = Prices.walk(days: 120)
        let crossover = try MovingAverageCrossover(fast: 3, slow: 8)
        let series = try Prices.series(closes)
        let positions = crossover.positions(over: series)
        let values = EquityCurve(of: series, following: positions).values
        var changedDecisions = 0
        for day in 1..<closes.count - 1 {
            var changed = closes
            changed[day] *= 3
            let changedSeries = try Prices.series(changed)
            let changedPositions = crossover.positions(over: changedSeries)
            let changedValues = EquityCurve(of: changedSeries, following: changedPositions).values
            #expect(changedPositions[..<day] == positions[..<day], "decisions before day \(day)")
            #expect(changedValues[..<day] == values[..<day], "equity before day \(day)")
            // The day's own return was decided the day before: in cash then, its price does not
            // touch equity.
            if !positions[day - 1] { #expect(changedValues[day] == values[day], "equity on day \(day)") }
            if changedPositions[day] != positions[day] { changedDecisions += 1 }
        }
        // Or the test would pass for a strategy that never looks at prices.
        #expect(changedDecisions > 10)
    }

    @Test func windowsMustFit() {
        #expect(throws: WindowError.outOfRange(window: 0)) { try MovingAverageCrossover(fast: 0, slow: 5) }
        #expect(throws: WindowError.outOfRange(window: 2_521)) { try MovingAverageCrossover(fast: 5, slow: 2_521) }
        #expect(throws: WindowError.fastNotBelowSlow(fast: 5, slow: 5)) { try MovingAverageCrossover(fast: 5, slow: 5) }
    }

    @Test func theLargestSumsFit() throws {
        // The highest closes and longest windows that are accepted: whatever overflows would trap.
        let series = try Prices.series([1] + [Double](repeating: 10_000_000, count: 2_521))
        let positions = try MovingAverageCrossover(fast: 2_519, slow: 2_520).positions(over: series)
        // Day 2519 is the first with 2520 closes; only its slow window still has the 1.
        #expect(positions.firstIndex(of: true) == 2_519)
        #expect(positions.count { $0 } == 1)
    }
}
