/// The value of each variable in one run. In JSON: `{"ticker":"sp500","fast":20,"slow":100}`.
package struct Assignment: Sendable, Hashable, Codable {
    package let ticker: String

    /// In trading days.
    package let fast: Int

    /// In trading days.
    package let slow: Int

    package init(ticker: String, fast: Int, slow: Int) {
        self.ticker = ticker
        self.fast = fast
        self.slow = slow
    }
}
