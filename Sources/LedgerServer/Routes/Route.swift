import HTTPTypes
import Hummingbird

/// A way to ask the service something. The table of these is what requests are matched with, what
/// tokens are checked by, and what the OpenAPI document is tested against.
struct Route: Sendable {
    typealias Answer = @Sendable (AuthorizedRequest) async throws -> Response

    let method: HTTPRequest.Method
    /// As OpenAPI writes it, such as `/v1/jobs/{id}`. A `{path}` at the end stands for one segment
    /// or more.
    let path: String
    /// `nil` where no token is needed.
    let scope: Scope?
    /// The read model that is waited for where the request has a `min_position`.
    let projection: String?
    let answer: Answer
    private let segments: [Substring]

    init(
        _ method: HTTPRequest.Method, _ path: String, scope: Scope?, waitingFor projection: String? = nil,
        _ answer: @escaping Answer
    ) {
        self.method = method
        self.path = path
        self.scope = scope
        self.projection = projection
        self.answer = answer
        segments = Self.segments(path)
    }

    /// Between slashes, empty ones too: `//` is not `/`.
    static func segments(_ path: some StringProtocol) -> [Substring] {
        // Byte by byte, as the separators of a query are found.
        Substring(path).utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { Substring($0) }
    }

    /// What need not be encoded is the same where it is (RFC 3986, 6.2.2.2).
    private static func isSame(_ sent: Substring, _ segment: Substring) -> Bool {
        sent == segment
            || sent.utf8.contains(UInt8(ascii: "%")) && Query.decoded(sent).map { $0[...] == segment } ?? false
    }

    /// - Returns: what stands in the place of `{id}` or `{path}`, as it was sent; an empty text
    ///   where the path has none. `nil` for another path.
    func match(_ sent: [Substring]) -> Substring? {
        if segments.last == "{path}" {
            let fixed = segments.dropLast()
            guard sent.count > fixed.count, sent.starts(with: fixed, by: Self.isSame) else { return nil }
            return Substring(sent.dropFirst(fixed.count).joined(separator: "/"))
        }
        guard sent.count == segments.count else { return nil }
        var parameter: Substring = ""
        for (sent, segment) in zip(sent, segments) {
            if segment == "{id}" {
                guard !sent.isEmpty else { return nil }
                parameter = sent
            } else if !Self.isSame(sent, segment) {
                return nil
            }
        }
        return parameter
    }
}
