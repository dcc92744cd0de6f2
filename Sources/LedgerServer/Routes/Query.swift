import EventStore
import LedgerCore

/// For error messages about addresses.
let percentEncodingRule =
    "each byte of UTF-8 that is not a letter, a digit or one of -._~ is written as % and two hexadecimal digits"

/// Typed access to parameters. A parameter that is unknown, malformed or given twice is an error,
/// never a silent default.
extension Query {
    init(_ text: String?) throws(Problem) {
        guard let text, !text.isEmpty else {
            self = .empty
            return
        }
        guard let query = Query(parsing: text) else {
            throw .invalidRequest("the query is not percent-encoded UTF-8, or contains U+0000: \(percentEncodingRule)")
        }
        self = query
    }

    /// Refuses parameters that the route does not have.
    func allow(_ known: ExactText...) throws(Problem) {
        for (name, _) in parameters where !known.contains(name) {
            let list = known.isEmpty ? "none" : known.map(\.text).joined(separator: ", ")
            throw .invalidRequest("there is no query parameter \(Self.quoted(name.text)) here; there are: \(list)")
        }
    }

    func all(_ name: ExactText) -> [String] { parameters.filter { $0.name == name }.map(\.value) }

    func text(_ name: ExactText) throws(Problem) -> String? {
        let values = all(name)
        guard values.count < 2 else { throw .invalidRequest("\"\(name)\" may be given once") }
        return values.first
    }

    /// A text that identifies something, compared byte by byte.
    func exact(_ name: ExactText) throws(Problem) -> ExactText? { try text(name).map { ExactText($0) } }

    func integer(_ name: ExactText, _ range: ClosedRange<Int64>) throws(Problem) -> Int64? {
        guard let text = try text(name) else { return nil }
        guard let number = Int64(decimal: text), range.contains(number) else {
            throw .invalidRequest(
                "\"\(name)\" must be an integer from \(range.lowerBound) to \(range.upperBound), "
                    + "not \(Self.quoted(text))")
        }
        return number
    }

    /// The number of items of a page.
    func limit() throws(Problem) -> Int { Int(try integer("limit", 1...1000) ?? 100) }

    /// The beginning of a value, for messages.
    static func quoted(_ text: String) -> String {
        "\"\(text.shortened(toBytes: 100))\""
    }

    func position(_ name: ExactText, from first: Position = 0) throws(Problem) -> Position? {
        try integer(name, first...Position.positions.upperBound)
    }

    /// A position or a time.
    func moment(_ name: ExactText) throws(Problem) -> LogMoment? {
        guard let text = try text(name) else { return nil }
        guard let moment = LogMoment(text) else {
            throw .invalidRequest("\"\(name)\" \(LogMoment.problem(with: text))")
        }
        return moment
    }

    func choice(_ name: ExactText, _ choices: [String]) throws(Problem) -> String? {
        guard let value = try text(name) else { return nil }
        return try Self.choice(name, choices, value)
    }

    private static func choice(_ name: ExactText, _ choices: [String], _ value: String) throws(Problem) -> String {
        guard choices.contains(value) else {
            throw .invalidRequest("\"\(name)\" must be one of \(choices.joined(separator: ", ")), not \(quoted(value))")
        }
        return value
    }

    private static let typesOfJobs = EventType.jobTypes.map(\.rawValue)

    /// One type of events.
    /// - Parameter category: as in ``types(of:)``.
    func type(of category: Category?) throws(Problem) -> EventType? {
        _ = try text("type")
        return try types(of: category)?.first
    }

    /// The types of events; the parameter may be given several times.
    /// - Parameter category: if it is another than that of jobs, any name may be of a type of it.
    func types(of category: Category? = nil) throws(Problem) -> Set<EventType>? {
        let names = all("type")
        guard !names.isEmpty else { return nil }
        var types: Set<EventType> = []
        for name in names {
            let isOfJobs = category ?? .job == .job
            let known = isOfJobs ? try Self.choice("type", Self.typesOfJobs, name) : name
            guard let type = EventType(rawValue: known) else {
                throw .invalidRequest("\"type\" \(EventType.problem(with: name))")
            }
            types.insert(type)
        }
        return types
    }

    /// The category of the events; `nil` for all.
    func category() throws(Problem) -> Category? {
        guard let name = try text("category") else { return nil }
        guard let category = Category(name) else {
            throw .invalidRequest("\"category\" \(Category.problem(with: name))")
        }
        return category
    }
}
