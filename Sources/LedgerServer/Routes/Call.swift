internal import HTTPTypes
internal import Hummingbird

/// A request that has found its route, and whose token allows it.
struct Call: Sendable {
    let request: Request
    let context: LedgerContext
    /// What stands in the path's `{id}`, decoded.
    let job: String
    let query: Query
    /// Of the token; `nil` where none is needed.
    let token: AccessToken?

    var wantsStream: Bool { MediaType.wantsStream(request) }
}

enum MediaType {
    /// The type without its parameters, in lower case.
    static func essence(_ value: String) -> String {
        String(value.prefix { $0 != ";" }).trimmingSpaces().lowercased()
    }

    /// Whether the answer is wanted as a stream of events. What accepts everything does not ask for one, and HEAD is never answered so.
    static func wantsStream(_ request: Request) -> Bool {
        request.method == .get
            && request.headers[values: .accept].contains { value in
                value.split(separator: ",").contains { essence(String($0)) == "text/event-stream" }
            }
    }
}

extension StringProtocol {
    func trimmingSpaces() -> String {
        var rest = Substring(self)
        while let first = rest.first, first == " " || first == "\t" { rest = rest.dropFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest = rest.dropLast() }
        return String(rest)
    }
}
