import HTTPTypes
import Hummingbird
import LedgerCore

/// A request whose route was found and whose token allows it.
struct AuthorizedRequest: Sendable {
    let request: Request
    let context: LedgerContext
    /// The category in the path; that of jobs if the route has none.
    let category: Category
    /// The decoded value of the path's `{id}` or `{path}`.
    let job: JobID
    let query: Query
    /// The token; `nil` if the route needs none.
    let token: AccessToken?
    /// Whether the caller may read, whatever the route is: the answer may then say what is in the
    /// log.
    let mayRead: Bool
    /// Whether the token could not be checked now, because the database cannot be reached.
    let isDatabaseAway: Bool

    /// The stream that the path names.
    var stream: StreamKey { StreamKey(category, job) }

    /// The path of the events of the job, or stream, that the request names.
    var eventsPath: String { Self.eventsPath(category, job) }

    static func eventsPath(_ category: Category, _ id: JobID) -> String {
        "/v1/\(category == .job ? "jobs" : "streams/\(category)")/\(Query.encoded(id))/events"
    }

    var wantsStream: Bool { MediaType.wantsStream(request) }
}

extension StringProtocol {
    func trimmingSpaces() -> String {
        var rest = Substring(self)
        while let first = rest.first, first == " " || first == "\t" { rest = rest.dropFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest = rest.dropLast() }
        return String(rest)
    }
}
