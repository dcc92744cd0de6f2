/// A JSON number, exactly: a Swift `Double` would round some of those that a schema compares with.
package struct JSONNumber: Sendable, Hashable, CustomStringConvertible {
    private let isNegative: Bool
    /// The digits from the first to the last that is not 0; empty for the number 0.
    private let digits: [UInt8]
    /// The power of ten of the first digit.
    private let power: Int

    /// The most digits of a number in a definition.
    static let mostDigits = 100
    /// A number beyond these powers of ten may be out of the range of a double.
    static let powers = -300...300

    /// `nil` if the number has too many digits, or is out of range.
    /// - Parameter text: a number that follows the grammar of JSON.
    init?(_ text: String) {
        let parts = text.lowercased().split(separator: "e", maxSplits: 1)
        guard let mantissa = parts.first else { return nil }
        let exponent = parts.count == 2 ? Int(parts[1]) : 0
        guard let exponent, (-10_000...10_000).contains(exponent) else { return nil }
        let halves = mantissa.drop { $0 == "-" }.split(separator: ".", omittingEmptySubsequences: false)
        let whole = Array(halves[0].utf8)
        let all = whole + (halves.count == 2 ? Array(halves[1].utf8) : [])
        let zero = UInt8(ascii: "0")
        guard let first = all.firstIndex(where: { $0 != zero }), let last = all.lastIndex(where: { $0 != zero }) else {
            (isNegative, digits, power) = (false, [], 0)
            return
        }
        isNegative = mantissa.hasPrefix("-")
        digits = all[first...last].map { $0 - zero }
        power = whole.count - 1 - first + exponent
        guard digits.count <= Self.mostDigits, Self.powers.contains(power) else { return nil }
    }

    var isInteger: Bool { digits.isEmpty || digits.count <= power + 1 }

    /// The number as an `Int`; `nil` if it has a fraction, or more than 18 digits.
    var integer: Int? {
        guard isInteger, power < 18 else { return nil }
        let value = (0..<(digits.isEmpty ? 0 : power + 1)).reduce(0) { sum, place in
            sum * 10 + (place < digits.count ? Int(digits[place]) : 0)
        }
        return isNegative ? -value : value
    }

    /// One spelling for each number.
    package var description: String {
        let text = digits.map { String($0) }.joined()
        let sign = isNegative ? "-" : ""
        switch power {
        case _ where digits.isEmpty: return "0"
        case 0..<20:
            let whole = text.prefix(power + 1)
            let fraction = text.dropFirst(power + 1)
            let zeros = String(repeating: "0", count: power + 1 - whole.count)
            return "\(sign)\(whole)\(zeros)\(fraction.isEmpty ? "" : ".\(fraction)")"
        case -7..<0: return "\(sign)0.\(String(repeating: "0", count: -power - 1))\(text)"
        default:
            let fraction = text.dropFirst()
            return "\(sign)\(text.prefix(1))\(fraction.isEmpty ? "" : ".\(fraction)")e\(power)"
        }
    }
}

extension JSONNumber: Comparable {
    package static func < (one: JSONNumber, other: JSONNumber) -> Bool {
        if one.sign != other.sign { return one.sign < other.sign }
        return one.sign < 0 ? other.isBelowInMagnitude(one) : one.isBelowInMagnitude(other)
    }

    private var sign: Int { digits.isEmpty ? 0 : isNegative ? -1 : 1 }

    private func isBelowInMagnitude(_ other: JSONNumber) -> Bool {
        power == other.power ? digits.lexicographicallyPrecedes(other.digits) : power < other.power
    }
}
