import ArgumentParser
import EventStore
import LedgerCore
import Projections

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

/// The arguments that name a stream whose row is shown: `JOB`, or `CATEGORY ID`.
struct ShownStream: ParsableArguments {
    @Argument(help: ArgumentHelp("The job's id; or a category, and the id of a stream of it.", valueName: "id"))
    var words: [String]

    @OptionGroup var readModel: ReadModelOptions

    /// The stream. Its category is the first of two words, or the option's.
    func stream() throws -> StreamKey {
        switch words.count {
        case 1: return StreamKey(readModel.category ?? .job, JobID(words[0]))
        case 2 where readModel.category == nil:
            guard let category = Category(words[0]) else {
                throw ValidationError("The first of two ids \(Category.problem(with: words[0])).")
            }
            return StreamKey(category, JobID(words[1]))
        default: throw ValidationError("Give the id of a job, or a category and the id of a stream of it.")
        }
    }
}

/// The options that say which read model shows streams.
struct ReadModelOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("The category of the stream. Default: job.", valueName: "category"),
        transform: CategoryOption.category)
    var category: Category?

    @Option(
        help: ArgumentHelp(
            "The projection that shows the stream. Needed only if several show its category.", valueName: "name"))
    var readModel: String?

    @OptionGroup var projections: ProjectionOptions

    /// The projection that shows a category.
    func definition(of category: Category) throws -> ProjectionDefinition {
        do {
            return try ProjectionDefinition.showing(category, named: readModel, among: projections.definitions())
        } catch let error as NoReadModel {
            throw ValidationError("\(error).")
        }
    }
}

extension StreamKey {
    /// For messages: `job backtest-7`.
    var shown: String { "\(category) \(Output.printable(id))" }

    /// For lists: of a job the id alone, as everywhere on the command line.
    var listed: String { category == .job ? id.text : "\(category) \(id)" }

    /// The members that name the stream in JSON: `job`, or `category` and `stream`.
    var members: (job: JobID?, category: String?, stream: JobID?) {
        category == .job ? (id, nil, nil) : (nil, category.text, id)
    }
}
