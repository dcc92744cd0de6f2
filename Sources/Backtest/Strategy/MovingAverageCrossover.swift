/// Long while the average of the last `fast` closes is above that of the last `slow`, and in cash
/// otherwise.
///
/// SMA(n) at day t is the mean of closes t−n+1 … t. Equal averages mean cash, and so do days before
/// `slow` closes are known: a series shorter than `slow` is all cash.
package struct MovingAverageCrossover: Sendable, Hashable {
    /// The windows that are accepted, in days: ten years at most. So products of windows and ticks
    /// fit an `Int`: 10¹¹ ticks × 2520 days × 2520 is below 10¹⁸.
    package static let acceptedWindows: ClosedRange<Int> = 1...2_520

    /// In trading days.
    package let fast: Int

    /// In trading days; above ``fast``.
    package let slow: Int

    package init(fast: Int, slow: Int) throws(WindowError) {
        for window in [fast, slow] where !Self.acceptedWindows.contains(window) {
            throw .outOfRange(window: window)
        }
        guard fast < slow else { throw .fastNotBelowSlow(fast: fast, slow: slow) }
        self.fast = fast
        self.slow = slow
    }

    /// The position at each close but the last: element t is decided on closes 0 … t and earns day
    /// t+1's return.
    ///
    /// The last close is left out: its decision would be for a day that is not in the series. The
    /// time is in proportion to the days, whatever the windows.
    package func positions(over prices: PriceSeries) -> [Bool] {
        let totals = prices.tickTotals
        let decisions = prices.closes.count - 1
        var positions = [Bool](repeating: false, count: decisions)
        // `while`, because this is the innermost loop and debug builds do not inline the iterator
        // of a range.
        var known = slow
        while known <= decisions {
            let total = totals[known]
            let fastTotal = total - totals[known - fast]
            let slowTotal = total - totals[known - slow]
            // fastTotal / fast > slowTotal / slow, without the division's rounding.
            positions[known - 1] = fastTotal * slow > slowTotal * fast
            known += 1
        }
        return positions
    }
}
