internal import EventStore
internal import LedgerCore

/// The part of an address behind `?`. A parameter that is misspelled, malformed or given twice where one is meant is a mistake that
/// is told, not a default.
struct Query: Sendable {
    private let parameters: [(name: String, value: String)]

    static let empty = Query(parameters: [])

    private init(parameters: [(name: String, value: String)]) { self.parameters = parameters }

    init(_ text: String?) throws(Problem) {
        guard let text, !text.isEmpty else {
            self = .empty
            return
        }
        var parameters: [(name: String, value: String)] = []
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.decoded(parts[0], plusIsSpace: true),
                let value = Self.decoded(parts.count > 1 ? parts[1] : "", plusIsSpace: true)
            else { throw .invalidRequest("the query is not percent-encoded UTF-8, or has U+0000") }
            parameters.append((name, value))
        }
        self.init(parameters: parameters)
    }

    /// `nil` for what is not percent-encoded UTF-8, and for U+0000, which Postgres has no text with.
    static func decoded(_ text: Substring, plusIsSpace: Bool = false) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard let high = rest.popFirst().flatMap(hexDigit), let low = rest.popFirst().flatMap(hexDigit) else {
                    return nil
                }
                bytes.append(high << 4 | low)
            } else {
                bytes.append(plusIsSpace && byte == UInt8(ascii: "+") ? 0x20 : byte)
            }
        }
        return bytes.contains(0) ? nil : String(utf8: bytes[...])
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// Percent-encoded, for a part of an address.
    static func encoded(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                encoded += (byte < 16 ? "%0" : "%") + String(byte, radix: 16, uppercase: true)
            }
        }
        return encoded
    }

    // MARK: What routes ask for

    /// Tells of parameters that the route does not have.
    func allow(_ known: String...) throws(Problem) {
        for (name, _) in parameters where !known.contains(name) {
            let list = known.isEmpty ? "none" : known.joined(separator: ", ")
            throw .invalidRequest("there is no query parameter \"\(name)\" here; there are: \(list)")
        }
    }

    func all(_ name: String) -> [String] { parameters.filter { $0.name == name }.map(\.value) }

    func text(_ name: String) throws(Problem) -> String? {
        let values = all(name)
        guard values.count < 2 else { throw .invalidRequest("\"\(name)\" may be given once") }
        return values.first
    }

    func integer(_ name: String, _ range: ClosedRange<Int64>) throws(Problem) -> Int64? {
        guard let text = try text(name) else { return nil }
        guard let number = Int64(decimal: text), range.contains(number) else {
            throw .invalidRequest(
                "\"\(name)\" must be an integer from \(range.lowerBound) to \(range.upperBound), not \(Self.quoted(text))")
        }
        return number
    }

    /// The beginning of a value, for messages.
    static func quoted(_ text: String) -> String {
        text.count > 100 ? "\"\(text.prefix(100))…\"" : "\"\(text)\""
    }

    func position(_ name: String, from first: Position = 0) throws(Problem) -> Position? {
        try integer(name, first...Position.positions.upperBound)
    }

    /// A position or a time.
    func moment(_ name: String) throws(Problem) -> Moment? {
        guard let text = try text(name) else { return nil }
        guard let moment = Moment(text) else {
            throw .invalidRequest("\"\(name)\" \(Moment.problem(with: text))")
        }
        return moment
    }

    func choice(_ name: String, _ choices: [String]) throws(Problem) -> String? {
        guard let value = try text(name) else { return nil }
        return try Self.choice(name, choices, value)
    }

    private static func choice(_ name: String, _ choices: [String], _ value: String) throws(Problem) -> String {
        guard choices.contains(value) else {
            throw .invalidRequest("\"\(name)\" must be one of \(choices.joined(separator: ", ")), not \(quoted(value))")
        }
        return value
    }

    private static let typeNames = EventType.allCases.map(\.rawValue)

    func type() throws(Problem) -> EventType? { try choice("type", Self.typeNames).flatMap { EventType(rawValue: $0) } }

    /// May be given several times.
    func types() throws(Problem) -> Set<EventType>? {
        let names = all("type")
        guard !names.isEmpty else { return nil }
        var types: Set<EventType> = []
        for name in names {
            if let type = EventType(rawValue: try Self.choice("type", Self.typeNames, name)) { types.insert(type) }
        }
        return types
    }
}
