/// A variable of a grid. In JSON: `{"name":"fast","values":[2,3],"count":2}`.
package struct Variable: Sendable, Hashable, Encodable {
    package let name: String
    package let values: [VariableValue]
    package let count: Int

    init(name: String, values: [VariableValue]) {
        self.name = name
        self.values = values
        count = values.count
    }
}

extension VariableGrid {
    /// The variables from the one that changes slowest to the one that changes fastest.
    package var variables: [Variable] {
        [
            Variable(name: "ticker", values: tickers.map { .text($0) }),
            Variable(name: "fast", values: fastWindows.map { .number($0) }),
            Variable(name: "slow", values: slowWindows.map { .number($0) }),
        ]
    }
}
