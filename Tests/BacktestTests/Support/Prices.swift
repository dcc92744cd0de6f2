import Backtest
import Foundation

/// Prices for tests.
enum Prices {
    /// Closes on consecutive days from 2001-01-01 on. Months have 28 days here: real dates are all
    /// that matters.
    static func series(_ closes: [Double], ticker: String = "test") throws -> PriceSeries {
        let dailyCloses = try closes.enumerated().map { index, price in
            let (months, day) = index.quotientAndRemainder(dividingBy: 28)
            let (years, month) = months.quotientAndRemainder(dividingBy: 12)
            let parts = [month + 1, day + 1].map { $0 < 10 ? "0\($0)" : "\($0)" }
            let date = "\(2001 + years)-\(parts[0])-\(parts[1])"
            guard let day = TradingDay(date) else { throw NotADay(text: date) }
            return DailyClose(day: day, price: price)
        }
        return try PriceSeries(ticker: ticker, dailyCloses)
    }

    /// A random walk by up to 2 % a day, always the same.
    static func walk(days: Int) -> [Double] {
        var state: UInt64 = 42
        var close = 100.0
        return (0..<days).map { _ in
            // Knuth's MMIX generator; its high bits are the good ones.
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let unit = Double(state >> 11) / Double(1 << 53)
            close *= 1 + (unit - 0.5) * 0.04
            return close
        }
    }

    /// The real closes in data/prices.
    static func real(_ ticker: String) throws -> PriceSeries {
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { root.deleteLastPathComponent() }
        return try PriceSeries(contentsOfFile: root.appendingPathComponent("data/prices/\(ticker).csv").path)
    }

    private struct NotADay: Error { let text: String }
}
