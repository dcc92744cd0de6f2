import HTTPTypes
import Hummingbird
import LedgerCore
import NIOCore

/// A request that was refused, without the secret of its token and without the event's data.
struct RefusedAttempt: Sendable {
    /// What two equal refusals have in common.
    struct Kind: Sendable, Hashable {
        var token: TokenID?
        var peer: ExactText?
        var method: ExactText
        var path: ExactText
        var actor: ExactText?
        /// The stream, if the request names one: its category and its id.
        var category: Category?
        var job: JobID?
        var type: ExactText?
        var code: ExactText
    }

    var kind: Kind
    var eventID: EventID?
    var detail: String

    /// How many characters of a text from a client are kept.
    private static let longest = 300

    /// Postgres cannot store U+0000 in a text.
    private static func cut(_ text: String?) -> String? {
        text.map {
            String(String.UnicodeScalarView($0.unicodeScalars.prefix(longest).map { $0.value == 0 ? "\u{FFFD}" : $0 }))
        }
    }

    private static func exact(_ text: String?) -> ExactText? { cut(text).map { ExactText($0) } }

    init(kind: Kind, eventID: EventID?, detail: String) {
        self.kind = kind
        self.eventID = eventID
        self.detail = Self.cut(detail) ?? ""
    }

    /// - Parameter stream: the stream that the request names, if it names one.
    init(
        _ request: Request, _ context: LedgerContext, path: String, token: TokenID?, stream: StreamKey?,
        event: NewEvent? = nil,
        code: String,
        detail: String
    ) {
        let actor = event.flatMap { JSONText.text("actor", in: $0.metadata) }
        let kind = Kind(
            token: token, peer: (context.channel.remoteAddress?.ipAddress).map { ExactText($0) },
            method: ExactText(request.method.rawValue), path: ExactText(path),
            actor: Self.exact(actor), category: stream?.category, job: Self.exact(stream?.id.text),
            type: Self.exact(event?.type), code: ExactText(code))
        self.init(kind: kind, eventID: event?.id, detail: detail)
    }

    init(
        _ authorized: AuthorizedRequest, path: String, stream: StreamKey?, event: NewEvent?, code: String,
        detail: String
    ) {
        self.init(
            authorized.request, authorized.context, path: path, token: authorized.token?.id, stream: stream,
            event: event, code: code, detail: detail)
    }
}
