import HTTPTypes
import Hummingbird
import LedgerCore

/// A request whose route was found and whose token allows it.
struct AuthorizedRequest: Sendable {
    let request: Request
    let context: LedgerContext
    /// The decoded value of the path's `{id}` or `{path}`.
    let job: JobID
    let query: Query
    /// The token; `nil` if the route needs none.
    let token: AccessToken?
    /// Whether the token could not be checked now, because the database cannot be reached.
    let isDatabaseAway: Bool

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
