/// The closing price of one trading day.
package struct DailyClose: Sendable, Hashable {
    package let day: TradingDay

    /// In the series' unit: index points, dollars.
    package let price: Double

    package init(day: TradingDay, price: Double) {
        self.day = day
        self.price = price
    }
}
