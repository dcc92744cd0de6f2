import HTTPTypes
import Hummingbird

/// One method and path of the service. Requests are matched with the table of routes, tokens are
/// checked by it, and the OpenAPI document is tested against it.
struct Route: Sendable {
    typealias Answer = @Sendable (AuthorizedRequest) async throws -> Response

    let method: HTTPRequest.Method
    /// As in OpenAPI, such as `/v1/jobs/{id}`. A final `{path}` matches one segment or more.
    /// `{category}` is the category of the stream `{id}`; without it, that is a job.
    let path: String
    /// `nil` if no token is needed.
    let scope: Scope?
    /// The read model to wait for if the request has a `min_position`.
    let projection: String?
    /// Whether it has an answer while the database is away, so that the last answer about a token
    /// counts then.
    let answersInOutages: Bool
    let answer: Answer
    private let segments: [Substring]

    init(
        _ method: HTTPRequest.Method, _ path: String, scope: Scope?, waitingFor projection: String? = nil,
        answersInOutages: Bool = false, _ answer: @escaping Answer
    ) {
        self.method = method
        self.path = path
        self.scope = scope
        self.projection = projection
        self.answersInOutages = answersInOutages
        self.answer = answer
        segments = Self.segments(path)
    }

    /// The parts between slashes, including empty ones: `//` is not `/`.
    static func segments(_ path: some StringProtocol) -> [Substring] {
        // Split bytes, not characters: see ``Query``.
        Substring(path).utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { Substring($0) }
    }

    /// A segment is the same with needless percent-encoding (RFC 3986, 6.2.2.2).
    private static func isSame(_ sent: Substring, _ segment: Substring) -> Bool {
        sent == segment
            || sent.utf8.contains(UInt8(ascii: "%")) && Query.decoded(sent).map { $0[...] == segment } ?? false
    }

    /// - Returns: the part that matches `{id}` or `{path}`, as it was sent; an empty text if the
    ///   route has neither; `nil` if the path does not match.
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
            } else if segment == "{category}" {
                guard !sent.isEmpty else { return nil }
            } else if !Self.isSame(sent, segment) {
                return nil
            }
        }
        return parameter
    }

    /// The part of a path that matches `{category}`, as it was sent; `nil` if the route has none.
    func category(in sent: [Substring]) -> Substring? {
        segments.firstIndex(of: "{category}").flatMap { sent.indices.contains($0) ? sent[$0] : nil }
    }
}
