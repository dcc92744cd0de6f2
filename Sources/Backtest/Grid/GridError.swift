/// Why values cannot make a grid.
package enum GridError: Error, Sendable, Equatable, CustomStringConvertible {
    case noValues(variable: String)
    case repeated(variable: String, value: String)
    case windows(WindowError)

    package var description: String {
        switch self {
        case .noValues(let variable): "the variable '\(variable)' has no values"
        case .repeated(let variable, let value): "the variable '\(variable)' has the value \(value) twice"
        case .windows(let error): error.description
        }
    }
}
