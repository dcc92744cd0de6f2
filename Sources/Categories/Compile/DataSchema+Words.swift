import LedgerCore

/// What a schema asks for, in words: to be read behind "must be".
extension DataSchema {
    /// The limit of a part of a message that comes from a file, in bytes.
    private static let longest = 100

    var wanted: String {
        if let constant { return Self.shown(constant) }
        if let values { return Self.oneOf(values) }
        guard let kinds else { return "a value" }
        return Self.list(kinds.map(wanted), "or")
    }

    private func wanted(_ kind: Kind) -> String {
        switch kind {
        case .object: "an object"
        case .array: "an array" + (elements.map { " of \($0)" } ?? "")
        case .string: format?.words ?? "a text" + (characters.map { " of \($0)" } ?? "")
        case .number: "a number" + (range.map { " \($0)" } ?? "")
        case .integer: "an integer" + (range.map { " \($0)" } ?? "")
        case .boolean: "true or false"
        case .null: "null"
        }
    }

    /// How long a text must be, to be read behind "must have".
    var characters: String? { Self.count(minLength == 0 ? nil : minLength, maxLength, "character") }
    /// How many elements an array must have.
    var elements: String? { Self.count(minItems == 0 ? nil : minItems, maxItems, "element") }

    private static func count(_ least: Int?, _ most: Int?, _ what: String) -> String? {
        func counted(_ count: Int) -> String { "\(count) \(what)\(count == 1 ? "" : "s")" }
        return switch (least, most) {
        case (nil, nil): nil
        case (let least?, nil): "at least \(counted(least))"
        case (nil, let most?): most == 0 ? "no \(what)s" : "at most \(counted(most))"
        case (let least?, let most?): least == most ? counted(most) : "\(least) to \(counted(most))"
        }
    }

    /// The range of a number, to be read behind "must be".
    var range: String? {
        switch (minimum, maximum) {
        case (nil, nil): nil
        case (let minimum?, nil): "of at least \(minimum)"
        case (nil, let maximum?): "of at most \(maximum)"
        case (let minimum?, let maximum?): "from \(minimum) to \(maximum)"
        }
    }

    static func oneOf(_ values: [JSONTree]) -> String {
        let most = 10
        let shown = values.prefix(most).map(Self.shown)
        return values.count > most
            ? "one of \(shown.joined(separator: ", ")) and \(values.count - most) others" : list(shown, "or")
    }

    static func shown(_ value: JSONTree) -> String { value.canonical.shortened(toBytes: longest) }

    static func list(_ words: [String], _ conjunction: String) -> String {
        words.count < 2
            ? words.joined() : words.dropLast().joined(separator: ", ") + " \(conjunction) " + words.last!
    }

    static func keys(_ keys: [ExactText], _ conjunction: String) -> String {
        list(keys.map { JSONTree.quoted($0).shortened(toBytes: longest) }, conjunction)
    }
}

extension DataSchema.Format {
    var words: String {
        switch self {
        case .date: "a date such as 2026-01-31"
        case .dateTime: "a time with its zone such as 2026-01-31T12:00:00Z"
        case .uuid: "a UUID"
        case .email: "an email address"
        case .uri: "an address with its scheme such as https://example.org"
        }
    }

    /// The SQL function that says whether a text has the format.
    var function: String {
        switch self {
        case .date: "is_date"
        case .dateTime: "is_date_time"
        case .uuid: "is_uuid"
        case .email: "is_email"
        case .uri: "is_uri"
        }
    }

    /// How many characters a text of the format has.
    var lengths: ClosedRange<Int> {
        switch self {
        case .date: 10...10
        case .dateTime: 20...Int.max
        case .uuid: 36...36
        case .email: 3...320
        case .uri: 3...Int.max
        }
    }
}
