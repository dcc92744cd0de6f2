/// Why a price file was refused, and where: `data/prices/sp500.csv:17: …`.
public struct PriceFileError: Error, Sendable, Equatable, CustomStringConvertible {
    public let file: String

    /// Counted from 1; `nil` where the file as a whole is at fault.
    public let line: Int?
    public let problem: PriceProblem

    public var description: String {
        guard let line else { return "\(file): \(problem)" }
        return "\(file):\(line): \(problem)"
    }
}
