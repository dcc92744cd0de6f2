/// A value of a variable: a string or a number in JSON.
package enum VariableValue: Sendable, Hashable, Encodable {
    case text(String)
    case number(Int)

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .text(let text): try container.encode(text)
        case .number(let number): try container.encode(number)
        }
    }
}
