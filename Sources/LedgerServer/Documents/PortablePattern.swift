/// A regular expression of Postgres in words that mean the same in ECMA-262.
///
/// The ledger checks a `pattern` with Postgres, and readers of a document with ECMA-262 in its
/// Unicode mode (JSON Schema, 6.4). A pattern that they understood otherwise would refuse data that
/// the ledger takes, or the other way round.
struct PortablePattern {
    private typealias Scalar = Unicode.Scalar

    private var rest: ArraySlice<Scalar>
    private var written = ""

    /// - Parameter pattern: one that Postgres accepts.
    /// - Returns: `nil` if the pattern uses what only Postgres has, such as `[[:alpha:]]`, or what
    ///   means something else in ECMA-262, such as `\s`.
    static func of(_ pattern: String) -> String? {
        var translation = PortablePattern(rest: Array(pattern.unicodeScalars)[...])
        while let scalar = translation.rest.popFirst() {
            guard translation.write(scalar) else { return nil }
        }
        return translation.written
    }

    private mutating func append(_ scalar: Scalar) { written.unicodeScalars.append(scalar) }

    private mutating func write(_ scalar: Scalar) -> Bool {
        switch scalar {
        case "\\": return writeEscape()
        case "[": return writeBrackets()
        case "{": return writeBound()
        // Literal in Postgres, and an error in ECMA-262.
        case "]", "}": return false
        // In Postgres a line's end too.
        case ".": written += "[\\s\\S]"
        // Options such as (?i).
        case "(" where rest.first == "?" && rest.dropFirst().first != ":": return false
        // A director such as ***=.
        case "*" where written.isEmpty: return false
        default: append(scalar)
        }
        return true
    }

    /// A bound such as `{1,3}`, behind its brace. A brace before something else is a literal one.
    private mutating func writeBound() -> Bool {
        guard let end = rest.firstIndex(of: "}") else { return false }
        let bound = rest[..<end]
        let digits = bound.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
        guard digits[0].first != nil, digits.allSatisfy({ $0.allSatisfy(Self.isDigit) }) else { return false }
        append("{")
        for scalar in bound { append(scalar) }
        append("}")
        rest = rest[(end + 1)...]
        return true
    }

    private mutating func writeEscape() -> Bool {
        switch rest.first {
        case "A":
            append("^")
        case "Z":
            append("$")
        default:
            return writeCharacter(in: "^$\\.*+?()[]{}|/") || writeClass()
        }
        rest.removeFirst()
        return true
    }

    /// An escape that stands for one character, behind its backslash.
    /// - Parameter escaped: the characters that stay escaped; others need not be, and must not.
    private mutating func writeCharacter(in escaped: String) -> Bool {
        guard let scalar = rest.first else { return false }
        if scalar == "u" {
            let digits = rest.dropFirst().prefix(4)
            let text = String(String.UnicodeScalarView(digits))
            // Half of a pair is a character of ECMA-262 only.
            guard digits.count == 4, digits.allSatisfy(\.properties.isASCIIHexDigit),
                let code = UInt32(text, radix: 16), code > 0, Scalar(code) != nil
            else { return false }
            written += "\\u" + text
            rest = rest.dropFirst(5)
            return true
        }
        guard scalar.isASCII, !Self.isWordCharacter(scalar) || "ntrfv".unicodeScalars.contains(scalar) else {
            return false
        }
        if Self.isWordCharacter(scalar) || escaped.unicodeScalars.contains(scalar) { append("\\") }
        append(scalar)
        rest.removeFirst()
        return true
    }

    /// A class of characters that is ASCII in both, behind its backslash. `\s` is not.
    private mutating func writeClass() -> Bool {
        guard let scalar = rest.first, "dDwW".unicodeScalars.contains(scalar) else { return false }
        append("\\")
        append(scalar)
        rest.removeFirst()
        return true
    }

    /// A bracket expression, behind its bracket.
    private mutating func writeBrackets() -> Bool {
        append("[")
        if rest.first == "^" { append(rest.removeFirst()) }
        var isFirst = true
        // What was written last: one character, which a range may begin with, or not.
        var beginsRange = false
        while let scalar = rest.popFirst() {
            switch scalar {
            case "]" where !isFirst:
                append("]")
                return true
            case "-" where isFirst || rest.first == "]":
                written += "\\-"
                beginsRange = false
            case "-":
                guard beginsRange else { return false }
                append("-")
                guard let end = rest.popFirst(), end != "-", end != "[", writeOne(end) else { return false }
                beginsRange = false
            default:
                if scalar == "\\", writeClass() {
                    beginsRange = false
                } else {
                    guard writeOne(scalar) else { return false }
                    beginsRange = true
                }
            }
            isFirst = false
        }
        return false
    }

    /// One character of a bracket expression.
    private mutating func writeOne(_ scalar: Scalar) -> Bool {
        switch scalar {
        case "\\": return writeCharacter(in: "^$\\.*+?()[]{}|/-")
        // [:alpha:], [.hyphen.], [=e=]
        case "[" where [":", ".", "="].contains(rest.first): return false
        case "[", "]": written += "\\"
        default: break
        }
        append(scalar)
        return true
    }

    private static func isDigit(_ scalar: Scalar) -> Bool { ("0"..."9").contains(scalar) }

    private static func isWordCharacter(_ scalar: Scalar) -> Bool {
        isDigit(scalar) || ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || scalar == "_"
    }
}
