import ArgumentParser
import LedgerCore

/// The option that names the category of a stream.
enum CategoryOption {
    static func category(_ text: String) throws -> Category {
        guard let category = Category(text) else {
            throw ValidationError("--category \(Category.problem(with: text)).")
        }
        return category
    }
}

/// The option that names a type of events.
enum TypeOption {
    /// - Parameter category: if it is another than that of jobs, any name may be of a type of it.
    static func type(_ text: String, of category: Category) throws -> EventType {
        if let type = EventType(rawValue: text), type.isOfJobs || category != .job { return type }
        guard category == .job else { throw ValidationError("--type \(EventType.problem(with: text)).") }
        let types = EventType.jobTypes.map(\.rawValue).joined(separator: ", ")
        throw ValidationError("--type \(text): the types are \(types).")
    }
}
