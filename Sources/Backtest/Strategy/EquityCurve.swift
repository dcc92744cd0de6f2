/// The value of one unit of money, day by day, when it follows positions. There are no costs, no
/// interest on cash and no leverage.
package struct EquityCurve: Sendable {
    /// At each close; 1 at the first.
    package let values: [Double]

    /// Element t is earned from close t to close t+1: close(t+1) / close(t) − 1 while long, 0 in
    /// cash.
    package let returns: [Double]

    /// Element t is held from close t to close t+1.
    package let positions: [Bool]

    /// - Parameter positions: one for each close of `prices` but the last.
    package init(of prices: PriceSeries, following positions: [Bool]) {
        let closes = prices.closes
        precondition(positions.count == closes.count - 1, "a position for each close but the last")
        var values = [Double](repeating: 1, count: closes.count)
        var returns = [Double](repeating: 0, count: positions.count)
        var equity = 1.0
        var day = 0
        while day < positions.count {
            if positions[day] {
                let growth = closes[day + 1] / closes[day]
                equity *= growth
                returns[day] = growth - 1
            }
            day += 1
            values[day] = equity
        }
        self.values = values
        self.returns = returns
        self.positions = positions
    }

    /// Buys at the first close and never sells. A strategy should be better than this.
    package static func buyAndHold(_ prices: PriceSeries) -> EquityCurve {
        EquityCurve(of: prices, following: [Bool](repeating: true, count: prices.closes.count - 1))
    }
}
