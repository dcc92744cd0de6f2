import ArgumentParser
import LedgerCore
package import Projections

extension JobListQuery.Status: ExpressibleByArgument {}
extension JobListQuery.Sort: ExpressibleByArgument {}
extension JobListQuery.Order: ExpressibleByArgument {}

/// The options that say which jobs are listed, and in which order.
struct JobListOptions: ParsableArguments {
    @Option(help: "Only jobs in this state. May be given several times.")
    var status: [JobListQuery.Status] = []

    @Option(help: ArgumentHelp("Only jobs of this kind: server or local.", valueName: "kind"))
    var kind: Kind?

    @Option(help: "Only jobs that this actor queued.")
    var actor: ExactText?

    @Option(help: "Only jobs with this text in their id, name or error. Upper and lower case are the same.")
    var text: String?

    @Option(
        help: ArgumentHelp("Only jobs queued at this time in RFC 3339, or later.", valueName: "time"),
        transform: Self.time("--since"))
    var since: Timestamp?

    @Option(
        help: ArgumentHelp("Only jobs queued at this time, or earlier.", valueName: "time"),
        transform: Self.time("--until"))
    var until: Timestamp?

    @Option(
        help: ArgumentHelp(
            "Only jobs with this variable, or with this value of it. May be given several times.",
            valueName: "name[:value]"),
        transform: Self.variable)
    var variable: [JobListQuery.Variable] = []

    @Option(
        help: ArgumentHelp(
            "Only jobs whose first event has this in its metadata. May be given several times.",
            valueName: "key:value"),
        transform: Self.metadata)
    var metadata: [JobListQuery.Metadata] = []

    @Flag(inversion: .prefixedNo, help: "Only jobs that were truncated, or that were not.")
    var truncated: Bool?

    @Option(
        help: "Sort by the event that queued, started, ended or last updated the job, by its name, or how long it took."
    )
    var sort = JobListQuery.Sort.queued

    @Option(help: "Names ascend, and all else descends, unless this says otherwise.")
    var order: JobListQuery.Order?

    enum Kind: String, ExpressibleByArgument, CaseIterable { case server, local }

    func query(limit: Int) -> JobListQuery {
        var query = JobListQuery(sort: sort, order: order, limit: limit)
        query.statuses = Set(status)
        query.kind = kind?.rawValue
        query.actor = actor
        query.text = text
        (query.since, query.until) = (since, until)
        (query.variables, query.metadata) = (variable, metadata)
        query.isTruncated = truncated
        return query
    }

    private static func time(_ name: String) -> @Sendable (String) throws -> Timestamp {
        { text in
            guard let time = Timestamp(text) else { throw ValidationError("\(name) \(Timestamp.problem(with: text)).") }
            return time
        }
    }

    private static func variable(_ text: String) throws -> JobListQuery.Variable {
        let (name, value) = parts(text)
        guard !name.isEmpty else {
            throw ValidationError("--variable must be a name, or a name and a value such as ticker:SPY.")
        }
        return JobListQuery.Variable(name: name, value: value)
    }

    private static func metadata(_ text: String) throws -> JobListQuery.Metadata {
        guard case (let key, let value?) = parts(text), !key.isEmpty else {
            throw ValidationError(
                "--metadata must be a key and a value such as team:research, not \(NumberOption.quoted(text)).")
        }
        return JobListQuery.Metadata(key: key, value: value)
    }

    /// What stands before and after the first colon.
    private static func parts(_ text: String) -> (String, String?) {
        guard let colon = text.firstIndex(of: ":") else { return (text, nil) }
        return (String(text[..<colon]), String(text[text.index(after: colon)...]))
    }
}

/// The options of commands that list something for people, or for programs.
struct ListingOptions: ParsableArguments {
    @Flag(help: "Answer in CSV, for spreadsheets.")
    var csv = false

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        if csv, options.json { throw ValidationError("Give --json or --csv, not both.") }
    }

    enum Form { case table, json, csv }

    var form: Form { csv ? .csv : options.json ? .json : .table }

    /// How many items people get without `--limit`. Programs get all.
    static let shownToPeople = 50

    func limit(_ given: Int?) -> Int { given ?? (form == .table ? Self.shownToPeople : .max) }
}
