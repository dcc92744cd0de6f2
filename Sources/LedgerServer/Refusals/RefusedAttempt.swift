internal import HTTPTypes
internal import Hummingbird
internal import LedgerCore
internal import NIOCore

/// Somebody tried something, and it was refused. Without the secret of a token, and without what the event said.
struct RefusedAttempt: Sendable {
    /// What makes two of them equal.
    struct Kind: Sendable, Hashable {
        var token: String?
        var peer: String?
        var method: String
        var path: String
        var actor: String?
        var job: String?
        var type: String?
        var code: String
    }

    var kind: Kind
    var eventID: EventID?
    var detail: String

    /// The longest text that is kept of what somebody sent.
    private static let longest = 300

    /// Postgres has no text with U+0000.
    private static func cut(_ text: String?) -> String? {
        text.map { String(String.UnicodeScalarView($0.unicodeScalars.prefix(longest).map { $0.value == 0 ? "\u{FFFD}" : $0 })) }
    }

    init(kind: Kind, eventID: EventID?, detail: String) {
        self.kind = kind
        self.eventID = eventID
        self.detail = Self.cut(detail) ?? ""
    }

    init(
        _ request: Request, _ context: LedgerContext, path: String, token: String?, job: String?, event: NewEvent? = nil,
        code: String,
        detail: String
    ) {
        let actor = event.flatMap { JSONText.text("actor", in: $0.metadata) }
        let kind = Kind(
            token: token, peer: context.channel.remoteAddress?.ipAddress, method: request.method.rawValue, path: path,
            actor: Self.cut(actor), job: Self.cut(job), type: Self.cut(event?.type), code: code)
        self.init(kind: kind, eventID: event?.id, detail: detail)
    }

    init(_ call: Call, path: String, job: String?, event: NewEvent?, code: String, detail: String) {
        self.init(
            call.request, call.context, path: path, token: call.token?.id, job: job, event: event, code: code, detail: detail)
    }
}
