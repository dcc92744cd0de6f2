import HTTPTypes
import Hummingbird
import LedgerCore

/// A request that has found its route, and whose token allows it.
struct AuthorizedRequest: Sendable {
    let request: Request
    let context: LedgerContext
    /// What stands in the path's `{id}`, decoded.
    let job: JobID
    let query: Query
    /// Of the token; `nil` where none is needed.
    let token: AccessToken?

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
