/// Why prices and a grid cannot make a batch.
package enum BatchError: Error, Sendable, Equatable, CustomStringConvertible {
    case noPrices(ticker: String)
    case pricesTwice(ticker: String)

    package var description: String {
        switch self {
        case .noPrices(let ticker): "the grid has the ticker '\(ticker)', for which there are no prices"
        case .pricesTwice(let ticker): "there are two price series for the ticker '\(ticker)'"
        }
    }
}
