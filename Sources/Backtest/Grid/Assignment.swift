/// The value of each variable in one run. In JSON: `{"ticker":"sp500","fast":20,"slow":100}`.
public struct Assignment: Sendable, Hashable, Codable {
    public let ticker: String

    /// In trading days.
    public let fast: Int

    /// In trading days.
    public let slow: Int

    public init(ticker: String, fast: Int, slow: Int) {
        self.ticker = ticker
        self.fast = fast
        self.slow = slow
    }
}
