/// What can be wrong with prices.
package enum PriceProblem: Error, Sendable, Equatable, CustomStringConvertible {
    case unreadable(reason: String)
    case header(found: String)
    case columns(found: Int)
    case date(found: String)
    case close(found: String)
    case notAfter(previous: TradingDay, found: TradingDay)
    case tooFewDays(found: Int)

    package var description: String {
        switch self {
        case .unreadable(let reason): "cannot be read: \(reason)"
        case .header(let found): "the first line must be 'date,close', not '\(found)'"
        case .columns(let found): "expected 2 columns (date, close), found \(found)"
        case .date(let found): "'\(found)' is not a date of the form YYYY-MM-DD"
        case .close(let found): "the close '\(found)' is not a plain decimal number from 0.0001 to 10000000"
        case .notAfter(let previous, let found):
            "\(found) does not come after \(previous), the day before it in the series"
        case .tooFewDays(let found): "a return needs 2 days, found \(found)"
        }
    }
}
