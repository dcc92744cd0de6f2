/// The closing price of one trading day.
public struct DailyClose: Sendable, Hashable {
    public let day: TradingDay

    /// In the series' unit: index points, dollars.
    public let price: Double

    public init(day: TradingDay, price: Double) {
        self.day = day
        self.price = price
    }
}
