/// Why a price file was refused, and where: `data/prices/sp500.csv:17: …`.
package struct PriceFileError: Error, Sendable, Equatable, CustomStringConvertible {
    package let file: String

    /// Counted from 1; `nil` where the error is not about one line.
    package let line: Int?
    package let problem: PriceProblem

    package var description: String {
        guard let line else { return "\(file): \(problem)" }
        return "\(file):\(line): \(problem)"
    }
}
