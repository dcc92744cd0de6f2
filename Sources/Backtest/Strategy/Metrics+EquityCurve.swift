import Foundation

extension Metrics {
    /// Computes the figures with the formulas in their documentation.
    package init(of curve: EquityCurve) {
        let final = curve.values[curve.values.count - 1]
        let years = max(Double(curve.returns.count), Self.daysPerYear) / Self.daysPerYear
        let (trades, daysLong) = Self.entries(curve.positions)
        self.init(
            cagr: pow(final, 1 / years) - 1,
            sharpe: Self.sharpe(curve.returns),
            maxDrawdown: Self.maxDrawdown(curve.values),
            trades: trades,
            finalEquity: final,
            exposure: Double(daysLong) / Double(curve.positions.count))
    }

    // The loops below use `while`, because debug builds do not inline the iterator of a range.

    private static func sharpe(_ returns: [Double]) -> Double {
        let count = returns.count
        guard count >= 2 else { return 0 }
        var total = 0.0
        var day = 0
        while day < count {
            total += returns[day]
            day += 1
        }
        let mean = total / Double(count)

        // A second pass is needed: the mean of the squares minus the squared mean loses the digits
        // that matter.
        var squares = 0.0
        day = 0
        while day < count {
            let deviation = returns[day] - mean
            squares += deviation * deviation
            day += 1
        }
        let deviation = (squares / Double(count - 1)).squareRoot()
        // Constant growth has a deviation of about 1e-17, from rounding; real prices have 1e-3 and
        // more.
        guard deviation > 1e-12 else { return 0 }
        return mean / deviation * daysPerYear.squareRoot()
    }

    private static func maxDrawdown(_ values: [Double]) -> Double {
        var peak = values[0]
        var deepest = 0.0
        var day = 1
        while day < values.count {
            let value = values[day]
            if value > peak {
                peak = value
            } else {
                let drawdown = 1 - value / peak
                if drawdown > deepest { deepest = drawdown }
            }
            day += 1
        }
        return deepest
    }

    private static func entries(_ positions: [Bool]) -> (trades: Int, daysLong: Int) {
        var trades = 0
        var daysLong = 0
        var wasLong = false
        var day = 0
        while day < positions.count {
            let isLong = positions[day]
            if isLong {
                daysLong += 1
                if !wasLong { trades += 1 }
            }
            wasLong = isLong
            day += 1
        }
        return (trades, daysLong)
    }
}
