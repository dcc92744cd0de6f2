import Categories
package import LedgerCore

/// Which events a projection folds: `consumes` in `projection.json`.
///
/// It is a list of types of jobs, or an object with the types of each category, or `"*"` for every
/// event of every category, also of those that are installed later.
package struct ConsumedEvents: Sendable, Equatable {
    /// The types by category. Of jobs all, where everything is consumed.
    package let types: [Category: Set<EventType>]
    package let isEverything: Bool

    /// - Parameters:
    ///   - json: the value of `consumes`.
    ///   - place: names the file in messages.
    init(reading json: ArraySlice<UInt8>, in place: String) throws(ProjectionDefinition.FormatError) {
        switch json.first {
        case UInt8(ascii: "\""):
            guard JSONText.string(from: json) == "*" else { throw Self.malformed(place) }
            types = [.job: Set(EventType.jobTypes)]
            isEverything = true
        case UInt8(ascii: "["):
            types = [.job: try Self.types(of: .job, json, in: place)]
            isEverything = false
        default:
            var types: [Category: Set<EventType>] = [:]
            guard let members = try? JSONText.slices(of: json), !members.isEmpty else { throw Self.malformed(place) }
            for (name, value) in members {
                guard let category = Category(name.text) else {
                    throw ProjectionDefinition.FormatError(
                        description: "\(place): a name in \"consumes\" \(Category.problem(with: name.text))")
                }
                guard types[category] == nil else {
                    throw ProjectionDefinition.FormatError(
                        description: "\(place): \"consumes\" has \"\(category)\" twice")
                }
                types[category] = try Self.types(of: category, value, in: place)
            }
            self.types = types
            isEverything = false
        }
    }

    private static func types(of category: Category, _ json: ArraySlice<UInt8>, in place: String)
        throws(ProjectionDefinition.FormatError) -> Set<EventType>
    {
        guard let elements = try? JSONText.elements(of: json), !elements.isEmpty else { throw malformed(place) }
        var types: Set<EventType> = []
        for element in elements {
            guard let text = JSONText.string(from: element) else { throw malformed(place) }
            guard let type = EventType(rawValue: text), category != .job || type.isOfJobs else {
                throw ProjectionDefinition.FormatError(
                    description: "\(place): \"consumes\" must name event types; unknown: [\"\(text)\"]")
            }
            types.insert(type)
        }
        return types
    }

    private static func malformed(_ place: String) -> ProjectionDefinition.FormatError {
        ProjectionDefinition.FormatError(
            description: """
                \(place): \"consumes\" must name event types: ["queued", …] of jobs, {"CATEGORY": ["TYPE", …], …}, or \
                "*" for every event
                """)
    }

    /// The types of jobs, as `jobledger.window_types` lists them.
    var jobTypes: String { (types[.job] ?? []).map(\.rawValue).sorted().joined(separator: ",") }

    /// What is consumed of other categories, as `jobledger.window_kinds` lists it.
    var otherKinds: String {
        guard !isEverything else { return "*" }
        return types.filter { $0.key != .job }
            .flatMap { category, types in types.map { "\(category)/\($0.rawValue)" } }.sorted().joined(separator: ",")
    }

    /// What a definition's hash covers. It is the list of types where only jobs are consumed, since
    /// such definitions are older than other categories.
    var canonical: String { otherKinds.isEmpty ? jobTypes : "\(jobTypes);\(otherKinds)" }

    /// The only category of which events are consumed; `nil` if there are several.
    var only: Category? { !isEverything && types.count == 1 ? types.keys.first : nil }

    /// Whether some events of a category are consumed.
    package func includes(_ category: Category) -> Bool { isEverything || types[category] != nil }
}

extension ConsumedEvents {
    /// What is consumed and does not exist: a sentence for each such category or type.
    func unknown(among categories: [CategoryDefinition]) -> [String] {
        types.sorted { $0.key.text < $1.key.text }.flatMap { category, types -> [String] in
            guard let definition = categories.first(where: { $0.name.text == category.text }) else {
                return [
                    "there is no category \(category): there are \(categories.map(\.name.text).joined(separator: ", "))"
                ]
            }
            let known = definition.types.map(\.text)
            return types.map { ExactText($0.rawValue) }.sorted().filter { !definition.types.contains($0) }.map {
                "the category \(category) has no type \($0): it has \(known.joined(separator: ", "))"
            }
        }
    }
}
